//! A TCP proxy to Redis that can be made to misbehave.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

/// What it does with connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes all on.
    Open,
    /// Closes connections, the new ones too.
    Refuse,
    /// Passes questions on, and swallows the answers.
    SwallowReplies,
    /// Swallows all, and leaves connections open: those of this time stay dead for ever.
    BlackHole,
    /// Passes answers on this much later.
    Delay(Duration),
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections of an earlier generation are closed.
    generation: u64,
}

/// One listener in front of Redis.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    // Ends all of its connections with it.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port, and passes all on to `upstream`.
    pub(crate) async fn open(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (state, watch) = watch::channel(State {
            mode: Mode::Open,
            generation: 0,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, watch));
        Ok(Self {
            port,
            state,
            _tasks: tasks,
        })
    }

    /// Closes all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state.send_modify(|state| {
            // An answer is missing in the middle of each of these streams.
            if state.mode == Mode::SwallowReplies || mode == Mode::Refuse {
                state.generation += 1;
            }
            state.mode = mode;
        });
    }
}

async fn accept(listener: TcpListener, upstream: u16, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if state.borrow().mode != Mode::Refuse {
            connections.spawn(carry(client, upstream, state.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one connection until either side closes it, or it is cut.
async fn carry(client: TcpStream, upstream: u16, mut state: watch::Receiver<State>) {
    let generation = state.borrow().generation;
    // Redis is away: the client sees a connection that is closed at once.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let questions = pass(from_client, to_server, Way::Question, state.clone());
    let answers = pass(from_server, to_client, Way::Answer, state.clone());
    tokio::select! {
        () = questions => {}
        () = answers => {}
        _ = state.wait_for(|state| state.generation != generation) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Question,
    Answer,
}

/// Passes bytes on in one direction, each when its delay is over.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    state: watch::Receiver<State>,
) {
    let (late, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        let mut dead = false;
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            let mode = state.borrow().mode;
            dead |= mode == Mode::BlackHole;
            if dead || (mode == Mode::SwallowReplies && way == Way::Answer) {
                continue;
            }
            let delay = match mode {
                Mode::Delay(delay) if way == Way::Answer => delay,
                _ => Duration::ZERO,
            };
            let bytes = buffer[..length].to_vec();
            if late.send((Instant::now() + delay, bytes)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
