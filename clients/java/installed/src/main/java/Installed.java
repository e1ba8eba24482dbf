import com.authmaterial.client.AuthmaterialClient;
import com.authmaterial.client.AuthmaterialException;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends a request with the material of a broker whose address is the argument. */
public final class Installed {
  private Installed() {}

  public static void main(String[] arguments) throws Exception {
    AuthmaterialClient.class.getMethods(); // which frameworks call, also without OkHttp and Spring
    try (var broker = AuthmaterialClient.builder(arguments[0]).plaintext().build()) {
      var http = broker.httpClient("pendo");
      var request = HttpRequest.newBuilder(URI.create("https://pendo.test/")).build();
      System.out.println(http.send(request, BodyHandlers.ofString()).statusCode());
    } catch (AuthmaterialException e) {
      System.out.println(e.reason());
    }
  }
}
