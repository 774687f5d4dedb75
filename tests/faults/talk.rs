//! [`Talk`]: a peer below HTTP. It takes connections, does one thing with each, and keeps what it was sent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is done with a connection.
#[derive(Clone, Debug)]
pub enum Does {
    /// It is closed at once.
    Hangs,
    /// These bytes are sent, once something was received; then FIN.
    Says(Vec<u8>),
    /// Nothing is said, ever.
    Silent,
    /// What was received is sent back.
    Echoes,
}

/// A listening socket on loopback whose thread ends with the process.
pub struct Talk {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    /// Whether nothing may be sent to it at all.
    pub is_trap: bool,
}

impl Talk {
    /// Starts it.
    pub fn start(does: Does) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let heard = Arc::default();
        let ear = Arc::clone(&heard);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (does, ear) = (does.clone(), Arc::clone(&ear));
                std::thread::spawn(move || talk(client, &does, &ear));
            }
        });
        Self { port, heard, is_trap: false }
    }

    /// One that nobody may talk to.
    pub fn trap() -> Self {
        let body = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        Self { is_trap: true, ..Self::start(Does::Says(body.into())) }
    }

    /// A port on which nobody listens.
    pub fn nobody() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.local_addr().expect("a bound socket").port()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// All that was ever sent to it.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn talk(mut client: TcpStream, does: &Does, ear: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    if matches!(does, Does::Hangs) {
        return;
    }
    // Long enough for anybody, and no thread outlives its row by much.
    drop(client.set_read_timeout(Some(Duration::from_secs(90))));
    let mut said = false;
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        ear.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        let done = match does {
            Does::Echoes => client.write_all(bytes),
            Does::Says(bytes) if !said => {
                said = true;
                client.write_all(bytes).and_then(|()| client.shutdown(Shutdown::Write))
            }
            Does::Hangs | Does::Says(_) | Does::Silent => Ok(()),
        };
        if done.is_err() {
            return;
        }
    }
}
