//! Calls a broker with generated stubs: `call ADDRESS`.

#[allow(dead_code)]
mod v1 {
    include!(env!("STUBS"));
}

use v1::broker_service_client::BrokerServiceClient;
use v1::GetAuthDecorationRequest;

fn request(id: &str) -> GetAuthDecorationRequest {
    GetAuthDecorationRequest {
        credential_id: id.into(),
        ..Default::default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: call ADDRESS")?;
    let mut broker = BrokerServiceClient::connect(format!("http://{address}")).await?;
    let response = broker.get_auth_decoration(request("sendpulse-key")).await?;
    for header in response.into_inner().auth_decoration.unwrap_or_default().headers {
        println!("{}: {}", header.name, header.value);
    }
    let Err(status) = broker.get_auth_decoration(request("unknown")).await else {
        return Err("the call for an unknown credential succeeded".into());
    };
    let reason = status.metadata().get("authmaterial-error-reason");
    println!("{}", reason.ok_or("no reason")?.to_str()?);
    Ok(())
}
