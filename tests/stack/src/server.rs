//! The server that every stand-in shares: sockets, TLS, the request log and the faults.
//!
//! What a stand-in answers is the business of its [`Service`]. How a connection breaks is
//! decided here, below HTTP, so that a reset is a true RST and a truncated body a true one.

mod connection;
mod log;

pub use log::Logged;

use crate::ca::Ca;
use crate::fault::{Fault, FaultKind};
use crate::hold;
use bytes::Bytes;
use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc as commands, watch};
use tokio_rustls::TlsAcceptor;

/// The largest body that a server reads, in bytes; a larger one is answered with 413.
pub const BODY_LIMIT: usize = 1 << 20;

/// One request, wholly read.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: http::Method,
    /// The path as it was sent: still percent-encoded, without the query.
    pub path: String,
    /// The query as it was sent; empty if there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`BODY_LIMIT`] bytes.
    pub body: Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
}

impl Request {
    /// The value of a header that occurs and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a service answers.
pub type Response = http::Response<Bytes>;

/// What a stand-in does with a request. It runs on the server's own thread.
pub trait Service: Send + Sync + 'static {
    /// The answer to one request.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The name under which a request is logged and matched by faults, such as `redeem`.
    fn name_of(&self, request: &Request) -> String;
}

/// A running server with a thread and a port of its own, on 127.0.0.1 unless told otherwise. It stops
/// when dropped.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
    commands: commands::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
    at: SocketAddr,
    tls: bool,
}

/// What the handle and the server's thread both see.
struct Shared<S> {
    service: S,
    log: Mutex<Vec<Logged>>,
    faults: Mutex<Vec<Fault>>,
    /// Requests that others overtake, by name.
    overtaken: Mutex<Vec<(String, Request)>>,
    connections: AtomicU64,
}

/// What the handle tells the thread; each is acknowledged once done.
enum Command {
    /// Refuse connections and reset the open ones.
    Pause(mpsc::Sender<()>),
    /// Accept connections again, on the same port.
    Resume(mpsc::Sender<()>),
    /// Reset the open connections; new ones are welcome.
    Cut(mpsc::Sender<()>),
}

impl<S: Service> Server<S> {
    /// A server over plain HTTP.
    #[must_use]
    pub fn start(service: S) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), service, None)
    }

    /// A server over TLS, with a leaf for `localhost` and `127.0.0.1`.
    #[must_use]
    pub fn start_tls(service: S, ca: &Ca) -> Self {
        Self::start_tls_with(service, ca.leaf(&["localhost", "127.0.0.1"]))
    }

    /// A server over TLS, with these settings (a leaf of the wrong name, say).
    #[must_use]
    pub fn start_tls_with(service: S, config: rustls::ServerConfig) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), service, Some(config))
    }

    /// A server on this address of the network namespace of the calling thread; with settings, over TLS.
    ///
    /// # Panics
    /// If a socket cannot be bound.
    #[must_use]
    pub fn start_at(address: IpAddr, service: S, config: Option<rustls::ServerConfig>) -> Self {
        Self::start_on(SocketAddr::new(address, 0), service, config)
    }

    /// The same on a port that clients insist on; 0 is for any that is free.
    ///
    /// # Panics
    /// If the socket cannot be bound.
    #[must_use]
    pub fn start_on(at: SocketAddr, service: S, config: Option<rustls::ServerConfig>) -> Self {
        let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        let shared = Arc::new(Shared {
            service,
            log: Mutex::default(),
            faults: Mutex::default(),
            overtaken: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let tls = acceptor.is_some();
        let (commands, inbox) = commands::unbounded_channel();
        let (ready, port) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("stand-in".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("a runtime");
                    runtime.block_on(serve(at, shared, acceptor, inbox, ready));
                }
            })
            .expect("a thread");
        let port = port.recv().expect("a free port");
        Self { shared, commands, thread: Some(thread), at: SocketAddr::new(at.ip(), port), tls }
    }

    /// The service, to look at its state or to change it.
    #[must_use]
    pub fn service(&self) -> &S {
        &self.shared.service
    }

    /// `http://127.0.0.1:PORT` or `https://localhost:PORT`, or the same with another address.
    #[must_use]
    pub fn url(&self) -> String {
        match (self.tls, self.at.ip()) {
            (true, IpAddr::V4(Ipv4Addr::LOCALHOST)) => format!("https://localhost:{}", self.at.port()),
            (true, _) => format!("https://{}", self.at),
            (false, _) => format!("http://{}", self.at),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// Every request that was answered or broken on purpose, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        hold(&self.shared.log).clone()
    }

    /// How many requests were logged under this name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        hold(&self.shared.log).iter().filter(|l| l.name == name).count()
    }

    /// How many TCP connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(self.shared.connections.load(Ordering::SeqCst)).unwrap_or(usize::MAX)
    }

    /// Forgets the log. Connections keep their numbers.
    pub fn clear_log(&self) {
        hold(&self.shared.log).clear();
    }

    /// Adds a fault. The first one of a request's name with times left is used.
    pub fn inject(&self, fault: Fault) {
        hold(&self.shared.faults).push(fault);
    }

    /// Forgets the faults.
    pub fn clear_faults(&self) {
        hold(&self.shared.faults).clear();
    }

    /// Refuses connections, and resets those that are open, until [`Self::resume`].
    pub fn pause(&self) {
        self.tell(Command::Pause);
    }

    /// Accepts connections again, on the same port.
    pub fn resume(&self) {
        self.tell(Command::Resume);
    }

    /// Resets the open connections, as a restart or a load balancer would.
    pub fn cut(&self) {
        self.tell(Command::Cut);
    }

    fn tell(&self, command: impl FnOnce(mpsc::Sender<()>) -> Command) {
        let (done, wait) = mpsc::channel();
        self.commands.send(command(done)).expect("a living server");
        wait.recv().expect("a living server");
    }
}

impl<S> Drop for Server<S> {
    fn drop(&mut self) {
        // The thread ends when the channel closes.
        let (closed, _) = commands::unbounded_channel();
        self.commands = closed;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
            drop(thread.join());
        }
    }
}

/// The life of the server's thread.
async fn serve<S: Service>(
    at: SocketAddr,
    shared: Arc<Shared<S>>,
    acceptor: Option<TlsAcceptor>,
    mut inbox: commands::UnboundedReceiver<Command>,
    ready: mpsc::Sender<u16>,
) {
    let bind = async |port| TcpListener::bind((at.ip(), port)).await;
    let listener = bind(at.port()).await.expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    ready.send(port).expect("a caller that waits");
    let mut listener = Some(listener);
    // Whoever sends here yields once, so that the connections see it before the caller goes on.
    let (cut, watched) = watch::channel(());
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = inbox.recv() => match command {
                None => return,
                Some(Command::Pause(done)) => {
                    listener = None;
                    cut.send_replace(());
                    tokio::task::yield_now().await;
                    done.send(()).expect("a caller that waits");
                }
                Some(Command::Resume(done)) => {
                    if listener.is_none() {
                        listener = Some(bind(port).await.expect("the same port again"));
                    }
                    done.send(()).expect("a caller that waits");
                }
                Some(Command::Cut(done)) => {
                    cut.send_replace(());
                    tokio::task::yield_now().await;
                    done.send(()).expect("a caller that waits");
                }
            },
            accepted = accepted => {
                let Ok((socket, peer)) = accepted else { continue };
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let mut cut = watched.clone();
                cut.mark_unchanged();
                let connection = connection::Connection { shared: Arc::clone(&shared), number, peer, cut };
                tokio::spawn(connection.run(socket, acceptor.clone()));
            }
        }
    }
}

impl<S: Service> Shared<S> {
    fn strike(&self, name: &str) -> Option<FaultKind> {
        crate::fault::strike(&mut hold(&self.faults), name)
    }
}

#[cfg(test)]
mod tests;
