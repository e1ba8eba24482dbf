//! Generates Rust stubs: `stubs PROTO-FOLDER OUTPUT-FOLDER PROTO...`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [proto, out, files @ ..] = arguments.as_slice() else {
        return Err("usage: stubs PROTO-FOLDER OUTPUT-FOLDER PROTO...".into());
    };
    tonic_prost_build::configure()
        .build_server(false)
        .out_dir(out)
        .compile_protos(files, &[proto.clone()])?;
    Ok(())
}
