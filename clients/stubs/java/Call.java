import com.authmaterial.v1.BrokerServiceGrpc;
import com.authmaterial.v1.GetAuthDecorationRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;

/** Calls a broker with generated stubs: {@code Call ADDRESS}. */
public class Call {
  public static void main(String[] arguments) throws Exception {
    var channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    var broker = BrokerServiceGrpc.newBlockingStub(channel);
    for (var header :
        broker.getAuthDecoration(request("sendpulse-key")).getAuthDecoration().getHeadersList()) {
      System.out.println(header.getName() + ": " + header.getValue());
    }
    try {
      broker.getAuthDecoration(request("unknown"));
    } catch (StatusRuntimeException e) {
      System.out.println(
          Status.trailersFromThrowable(e).get(Metadata.Key.of("authmaterial-error-reason", Metadata.ASCII_STRING_MARSHALLER)));
    }
    channel.shutdownNow();
  }

  private static GetAuthDecorationRequest request(String id) {
    return GetAuthDecorationRequest.newBuilder().setCredentialId(id).build();
  }
}
