# Calls a broker with generated stubs: `call.rb ADDRESS`.
require 'authmaterial/v1/broker_service_services_pb'

broker = Authmaterial::V1::BrokerService::Stub.new(ARGV[0], :this_channel_is_insecure)
request = Authmaterial::V1::GetAuthDecorationRequest.new(credential_id: 'sendpulse-key')
broker.get_auth_decoration(request).auth_decoration.headers.each do |header|
  puts "#{header.name}: #{header.value}"
end
begin
  broker.get_auth_decoration(Authmaterial::V1::GetAuthDecorationRequest.new(credential_id: 'unknown'))
rescue GRPC::BadStatus => error
  puts error.metadata["authmaterial-error-reason"]
end
