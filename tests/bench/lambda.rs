//! How soon the rotator is ready as a Lambda function: from its start to its first poll of the runtime
//! interface. The interface is a socket that answers nothing.

use crate::goals::Row;
use imprint_e2e::{Programs, Site};
use std::error::Error;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts of which the median is told.
const STARTS: usize = 20;

/// The median time to the first poll.
pub(crate) fn first_poll(site: &Site, programs: &Programs) -> Result<Row, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let runtime = TcpListener::bind("127.0.0.1:0")?;
        let start = Instant::now();
        let mut child = Command::new(&programs.rotator)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", runtime.local_addr()?.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "rotator")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
            .env("IMPRINT_ROTATOR_CONFIG", site.folder().join("rotator.toml"))
            .envs(site.stack.environment(Some(&site.stack.session("rotator"))))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let (mut poll, _) = runtime.accept()?;
        let mut head = [0; 512];
        let length = poll.read(&mut head)?;
        times.push(start.elapsed());
        child.kill()?;
        child.wait()?;
        let request = String::from_utf8_lossy(&head[..length]).into_owned();
        if !request.starts_with("GET /2018-06-01/runtime/invocation/next ") {
            return Err(format!("the first request is no poll: {request}").into());
        }
    }
    times.sort();
    let ms = times[STARTS / 2].as_secs_f64() * 1e3;
    Ok(Row::at_most("Lambda: start to first poll", "at most 5 ms", ms, 5.0, format!("{ms:.1} ms")))
}
