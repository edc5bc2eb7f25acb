//! The listening sockets of a worker: opened, shared with another process, closed and opened again.
//!
//! Invariant: a socket that is closed has given away everybody who waited in its queue, unless another
//! process has it too.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use ballast_model::Transport;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};

use super::{ACCEPT_PAUSE, Worker};
use crate::binding::Binding;
use crate::datagram::{DatagramListener, Door};
use crate::handler::ConnectionTask;
use crate::listener::{self, ListenSocket};
use crate::moved::MovedSession;
use crate::reconcile::Listener;

/// Stops the accept loop of one socket.
#[derive(Default)]
pub(crate) struct AcceptStop {
    pub(crate) wake: Notify,
    pub(crate) is_closed: Cell<bool>,
    /// Whether another process goes on with the socket.
    pub(crate) is_handed_over: Cell<bool>,
    /// Dropped when the socket is closed; whoever waits for it hears of the last one.
    done: RefCell<Option<Rc<oneshot::Sender<()>>>>,
    /// Taken out when the socket is to be closed.
    socket: RefCell<Option<Rc<dyn AsFd>>>,
}

impl Worker {
    pub(super) fn listen(
        self: &Rc<Self>,
        listener: Listener,
        socket: ListenSocket,
        binding: Arc<Binding>,
        sessions: Vec<MovedSession>,
    ) {
        let (_, address) = listener;
        let stop = Rc::new(AcceptStop::default());
        let task: io::Result<ConnectionTask> = match socket {
            ListenSocket::Stream(socket) => registered(socket).map(|socket| {
                let socket = Rc::new(socket);
                stop.socket.replace(Some(Rc::<AsyncFd<TcpListener>>::clone(&socket)));
                let (worker, stop) = (Rc::clone(self), Rc::clone(&stop));
                Box::pin(async move { worker.accept(address, socket, &binding, &stop).await }) as _
            }),
            ListenSocket::Datagram(socket) => UdpSocket::from_std(socket).map(|socket| {
                let socket = Rc::new(socket);
                stop.socket.replace(Some(Rc::<UdpSocket>::clone(&socket)));
                let (shared, context) = (Arc::clone(&self.shared), Rc::clone(&self.context));
                let door = Door { binding, shared, context };
                let stop = Rc::clone(&stop);
                let listener = DatagramListener { socket, local: address, door, sessions, stop };
                Rc::clone(&self.udp).serve(listener)
            }),
        };
        match task {
            Ok(task) => {
                self.listeners.borrow_mut().entry(listener).or_default().push(stop);
                drop(tokio::task::spawn_local(task));
            }
            Err(error) => tracing::error!(%address, %error, "a listener can't be registered"),
        }
    }

    pub(super) fn close(
        &self,
        listener: Listener,
        is_handed_over: bool,
        done: oneshot::Sender<()>,
    ) {
        // Without a listener, dropping `done` says that there is nothing to wait for.
        let Some(stops) = self.listeners.borrow_mut().remove(&listener) else { return };
        let done = Rc::new(done);
        if listener.0 == Transport::Udp {
            let mut closing = self.closing.borrow_mut();
            closing.retain(|_, stops| stops.iter().any(|stop| stop.strong_count() > 0));
            closing.insert(listener, stops.iter().map(Rc::downgrade).collect());
        }
        for stop in stops {
            if listener.0 == Transport::Tcp {
                stop.done.replace(Some(Rc::clone(&done)));
            }
            stop.is_handed_over.set(is_handed_over);
            stop.is_closed.set(true);
            stop.wake.notify_one();
        }
    }

    pub(super) fn reopen(&self, listener: Listener) -> bool {
        let stops = self.closing.borrow_mut().remove(&listener).unwrap_or_default();
        let stops: Vec<_> = stops.iter().filter_map(Weak::upgrade).collect();
        if stops.is_empty() {
            return false;
        }
        for stop in &stops {
            stop.is_closed.set(false);
            stop.wake.notify_one();
        }
        self.listeners.borrow_mut().insert(listener, stops);
        true
    }

    /// A second descriptor of each socket that is listened on. One that can't be had is left out.
    pub(super) fn share(&self) -> Vec<OwnedFd> {
        let listeners = self.listeners.borrow();
        let mut shared = Vec::new();
        for stop in listeners.values().flatten() {
            let socket = stop.socket.borrow();
            match socket.as_ref().map(|socket| socket.as_fd().try_clone_to_owned()) {
                Some(Ok(socket)) => shared.push(socket),
                Some(Err(error)) => tracing::error!(%error, "a listening socket can't be shared"),
                None => {}
            }
        }
        shared
    }

    async fn accept(
        self: &Rc<Self>,
        address: SocketAddr,
        listener: Rc<AsyncFd<TcpListener>>,
        binding: &Binding,
        stop: &AcceptStop,
    ) {
        loop {
            // Cancel-safe: a connection is either returned or still in the queue.
            let accepted = tokio::select! {
                biased;
                () = stop.wake.notified() => break,
                accepted = listener.async_io(Interest::READABLE, listener::accept) => accepted,
            };
            if !self.accepted(address, accepted, binding) {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        if !stop.is_handed_over.get() {
            self.empty_queue(address, listener.get_ref(), binding);
        }
        // Closed before that is told.
        drop((stop.socket.take(), listener));
        drop(stop.done.take());
    }

    /// Serves the clients that are in the queue: they have been told that they are connected. Asks
    /// the kernel each time, not the reactor, which learns of them later.
    fn empty_queue(
        self: &Rc<Self>,
        address: SocketAddr,
        listener: &TcpListener,
        binding: &Binding,
    ) {
        // More are not in it; clients that come meanwhile must not keep it from being closed.
        for _ in 0..=listener::BACKLOG_COUNT {
            match listener::accept(listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                accepted => {
                    if !self.accepted(address, accepted, binding) {
                        return;
                    }
                }
            }
        }
    }
}

/// The socket as the reactor knows it: tokio's own listener would have the reactor know each connection
/// at once, too.
#[expect(
    deprecated,
    reason = "a listener's descriptor stays what it is, so the old function is sound"
)]
fn registered(listener: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}
