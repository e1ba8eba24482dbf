<?php
// Calls a broker with generated messages: `call.php ADDRESS`. Debian has no package of the extension
// grpc, so the program calls ProviderService at the broker's HTTP listener.
spl_autoload_register(function ($class) {
    require str_replace('\\', '/', $class) . '.php';
});

use Authmaterial\V1\GetProviderRequest;
use Authmaterial\V1\GetProviderResponse;

// Returns the response headers and the body.
function call(string $address, string $id): array
{
    $request = new GetProviderRequest();
    $request->setProviderId($id);
    $body = file_get_contents(
        "http://$address/authmaterial.v1.ProviderService/GetProvider",
        false,
        stream_context_create(['http' => [
            'method' => 'POST',
            'header' => "Content-Type: application/proto\r\nConnect-Protocol-Version: 1",
            'content' => $request->serializeToString(),
            'ignore_errors' => true,
        ]]),
    );
    return [$http_response_header, $body];
}

$response = new GetProviderResponse();
$response->mergeFromString(call($argv[1], 'sendpulse')[1]);
echo $response->getProvider()->getDisplayName(), "\n";
foreach (call($argv[1], 'unknown')[0] as $line) {
    if (stripos($line, 'authmaterial-error-reason: ') === 0) {
        echo substr($line, 27), "\n";
    }
}
