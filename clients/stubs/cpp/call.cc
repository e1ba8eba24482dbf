// Calls a broker with generated stubs: `call ADDRESS`.
#include <grpcpp/grpcpp.h>

#include <iostream>

#include "authmaterial/v1/broker_service.grpc.pb.h"

namespace v1 = authmaterial::v1;

int main(int, char* arguments[]) {
  auto stub = v1::BrokerService::NewStub(
      grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials()));
  v1::GetAuthDecorationRequest request;
  {
    grpc::ClientContext context;
    v1::GetAuthDecorationResponse response;
    request.set_credential_id("sendpulse-key");
    auto status = stub->GetAuthDecoration(&context, request, &response);
    if (!status.ok()) {
      std::cerr << status.error_message() << "\n";
      return 1;
    }
    for (const auto& header : response.auth_decoration().headers()) {
      std::cout << header.name() << ": " << header.value() << "\n";
    }
  }
  grpc::ClientContext context;
  v1::GetAuthDecorationResponse response;
  request.set_credential_id("unknown");
  if (stub->GetAuthDecoration(&context, request, &response).ok()) {
    return 1;
  }
  auto reason = context.GetServerTrailingMetadata().find("authmaterial-error-reason");
  if (reason == context.GetServerTrailingMetadata().end()) {
    return 1;
  }
  std::cout << reason->second << "\n";
}
