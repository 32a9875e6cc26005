use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushKind, RedisError, RedisResult,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{Servers, dial::dial, error::Trouble, scripts, settings::Settings};

/// One multiplexed connection that is made when it is needed, and made again.
///
/// In place of the redis crate's `ConnectionManager`, because the queue needs to
/// know when a connection is a new one (what was unconfirmed is then sent again),
/// gives up a silent or demoted server at once, and fails fast while Redis is away
/// instead of holding each caller through a series of retries.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// In a Cluster, what the server is found by.
    key: String,
    response_timeout: Duration,
    live: Mutex<Option<Live>>,
    /// Held while connecting; the last failure answers those who waited for it.
    connecting: AsyncMutex<Option<(Instant, RedisError)>>,
}

/// A connection that was alive when it was asked for.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    link: Arc<Link>,
}

/// What all users of one connection share.
struct Link {
    /// Set by the connection's own task when the server closes it.
    closed: AtomicBool,
    /// That task. It ends with the last user, also when a silent server owes answers.
    driver: OnceLock<AbortOnDropHandle<()>>,
}

impl Live {
    /// Whether both stand for the same connection.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }
}

impl Connection {
    /// Whether both are one connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// To the server that has this key; nothing is connected yet.
    pub(crate) fn new(settings: &Settings, key: &str, response_timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            key: key.to_owned(),
            response_timeout,
            live: Mutex::new(None),
            connecting: AsyncMutex::new(None),
        }))
    }

    /// The live connection; connects when there is none.
    pub(crate) async fn live(&self) -> RedisResult<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let asked = Instant::now();
        let mut failure = self.0.connecting.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        // A crowd that waited for one attempt shares its failure: with a silent
        // network each attempt takes the whole time-out.
        if let Some((at, error)) = failure.as_ref()
            && *at > asked
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(live) => {
                *failure = None;
                *self.slot() = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                *failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<Live> {
        let slot = self.slot();
        let live = slot.as_ref()?;
        (!live.link.closed.load(Ordering::Acquire)).then(|| live.clone())
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Live>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> RedisResult<Live> {
        let link = Arc::new(Link {
            closed: AtomicBool::new(false),
            driver: OnceLock::new(),
        });
        // The task must not keep alive what ends it.
        let flag = Arc::downgrade(&link);
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.0.response_timeout))
            .set_pipeline_buffer_size(1024)
            .set_push_sender(move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection
                    && let Some(link) = flag.upgrade()
                {
                    link.closed.store(true, Ordering::Release);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let settings = &self.0.settings;
        let handshake = settings.redis.redis_settings().clone();
        let handshake = handshake
            // RESP3 tells of a closed connection while it is idle.
            .set_protocol(ProtocolVersion::RESP3)
            // One command less that an ACL would have to know.
            .set_skip_set_lib_name();
        let connect = async {
            let stream = dial(settings, &self.0.key).await?;
            MultiplexedConnection::new_with_config(&handshake, stream, config).await
        };
        let connected = timeout(settings.tuning.connect_timeout, connect).await;
        let (connection, driver) =
            connected.unwrap_or_else(|elapsed| Err(std::io::Error::from(elapsed).into()))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        let _ = link.driver.set(driver);
        let live = Live { connection, link };
        // Scripts survive neither a restart nor a failover. A failure here is
        // healed where a script is missed.
        let _ = load_scripts(&live).await;
        Ok(live)
    }

    /// Gives the connection up after an error that says so.
    pub(crate) fn report(&self, live: &Live, error: &RedisError) {
        if matches!(Trouble::of(error), Trouble::Connection | Trouble::Demoted) {
            let mut slot = self.slot();
            if slot.as_ref().is_some_and(|current| current.same(live)) {
                *slot = None;
            }
        }
    }

    /// Gives the connection up: the next use makes another.
    pub(crate) fn give_up(&self) {
        *self.slot() = None;
    }

    /// Runs one command.
    pub(crate) async fn one(&self, cmd: &Cmd) -> RedisResult<Value> {
        let mut live = self.live().await?;
        let mut result = send(&mut live, cmd).await;
        match result.as_ref().map_err(Trouble::of) {
            Err(Trouble::NoScript) => {
                load_scripts(&live).await?;
                result = send(&mut live, cmd).await;
            }
            // It has done nothing, and the server that would is known elsewhere.
            Err(Trouble::Demoted) if !matches!(self.0.settings.servers, Servers::One) => {
                if let Err(error) = &result {
                    self.report(&live, error);
                }
                live = self.live().await?;
                result = send(&mut live, cmd).await;
            }
            _ => {}
        }
        if let Err(error) = &result {
            self.report(&live, error);
        }
        result
    }

    /// Runs all commands in one go; each has an answer of its own.
    pub(crate) async fn all(&self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut live = self.live().await?;
        match all_on(&mut live, pipeline).await {
            Ok(answers) => {
                let demoted = answers.iter().find_map(|answer| match answer {
                    Value::ServerError(error) => Some(RedisError::from(error.clone()))
                        .filter(|error| Trouble::of(error) == Trouble::Demoted),
                    _ => None,
                });
                if let Some(error) = demoted {
                    self.report(&live, &error);
                }
                Ok(answers)
            }
            Err(error) => {
                self.report(&live, &error);
                Err(error)
            }
        }
    }
}

/// Runs one command; an error answer is an error.
pub(crate) async fn send(live: &mut Live, cmd: &Cmd) -> RedisResult<Value> {
    match live.connection.send_packed_command(cmd).await? {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// Runs a pipeline; what missed its script is sent again with the scripts loaded.
async fn all_on(live: &mut Live, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
    let mut answers = live
        .connection
        .send_packed_commands(pipeline, 0, pipeline.len())
        .await?;
    let missed: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| is_no_script(answer))
        .map(|(at, _)| at)
        .collect();
    if missed.is_empty() {
        return Ok(answers);
    }
    load_scripts(live).await?;
    let mut again = Pipeline::with_capacity(missed.len());
    for (at, cmd) in pipeline.cmd_iter().enumerate() {
        if missed.binary_search(&at).is_ok() {
            again.add_command(cmd.clone());
        }
    }
    let second = live
        .connection
        .send_packed_commands(&again, 0, again.len())
        .await?;
    for (at, answer) in missed.into_iter().zip(second) {
        answers[at] = answer;
    }
    Ok(answers)
}

fn is_no_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

async fn load_scripts(live: &Live) -> RedisResult<()> {
    let mut pipeline = Pipeline::with_capacity(scripts::SOURCES.len());
    for (_, source) in &*scripts::SOURCES {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(source);
    }
    let mut connection = live.connection.clone();
    pipeline.query_async::<Vec<Value>>(&mut connection).await?;
    Ok(())
}

/// The first error among the answers of a pipeline.
pub(crate) fn first_error(answers: &[Value]) -> RedisResult<()> {
    for answer in answers {
        if let Value::ServerError(error) = answer {
            return Err(error.clone().into());
        }
    }
    Ok(())
}

/// Connections for queues: one for all where one server has them all.
pub(crate) struct Connections {
    settings: Settings,
    response_timeout: Duration,
    shared: Option<Connection>,
}

impl Connections {
    /// Nothing is connected yet.
    pub(crate) fn new(settings: &Settings, response_timeout: Duration) -> Self {
        let shared = match settings.servers {
            // In a Cluster another queue may be on another node.
            Servers::Cluster(_) => None,
            Servers::One | Servers::Sentinel(_) => {
                Some(Connection::new(settings, "", response_timeout))
            }
        };
        Self {
            settings: settings.clone(),
            response_timeout,
            shared,
        }
    }

    /// A connection for what shares this key's slot.
    pub(crate) fn to(&self, key: &str) -> Connection {
        let shared = self.shared.clone();
        shared.unwrap_or_else(|| Connection::new(&self.settings, key, self.response_timeout))
    }
}
