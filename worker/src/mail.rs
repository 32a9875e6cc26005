//! Outgoing mail: by SMTP, or into a folder where no server is set.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use queue::JobId;
use secrecy::ExposeSecret as _;
use service::settings::{self, SmtpTls};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

/// How long the mail server may take for one step of the exchange.
const SMTP_TIMEOUT: Duration = Duration::from_secs(15);

/// Sends mail from one sender.
#[derive(Debug)]
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

/// What a mail says, in both forms. Both are ASCII with short lines, so that a mail can be read
/// as it is on the wire.
#[derive(Debug)]
pub struct Content {
    /// The subject.
    pub subject: &'static str,
    /// For readers without HTML.
    pub text: String,
    /// For the others.
    pub html: String,
}

/// Why there can be no mailer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `MAIL_FROM` is no address.
    #[error("MAIL_FROM is not an address such as Slipway <no-reply@example.org>")]
    From(#[source] lettre::address::AddressError),
    /// TLS for this host name cannot be set up.
    #[error("SMTP_HOST cannot be reached by TLS")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It will never be: the address is none, or the server refuses it for good (5xx).
    #[error("the mail is refused for good")]
    Permanent(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may be later: the server is away, busy (4xx), or does not let us in (53x).
    #[error("the mail cannot be sent now")]
    Temporary(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Mailer {
    /// A mailer for these settings. It connects for each mail.
    ///
    /// # Errors
    /// When the sender or the server's name is unusable.
    pub fn new(settings: &settings::Mail) -> Result<Self, SetupError> {
        let from = settings.from.parse().map_err(SetupError::From)?;
        let way = match &settings.smtp {
            None => Way::Folder(settings.dir.clone()),
            Some(smtp) => Way::Smtp(transport(smtp).map_err(SetupError::Tls)?),
        };
        Ok(Self { from, way })
    }

    /// Sends `content` to the address `to`, under a Message-ID made of the job's id.
    ///
    /// # Errors
    /// When it cannot be sent; the kind says whether a later attempt can help.
    pub async fn send(&self, job: JobId, to: &str, content: Content) -> Result<(), SendError> {
        let message = self
            .message(job, to, content)
            .map_err(SendError::Permanent)?;
        match &self.way {
            Way::Folder(folder) => write(folder, &file_name(job), &message.formatted())
                .await
                .map_err(|error| SendError::Temporary(error.into())),
            Way::Smtp(transport) => match transport.send(message).await {
                Ok(_) => Ok(()),
                Err(error) if error.is_permanent() && !is_log_in(&error) => {
                    Err(SendError::Permanent(error.into()))
                }
                Err(error) => Err(SendError::Temporary(error.into())),
            },
        }
    }

    fn message(
        &self,
        job: JobId,
        to: &str,
        content: Content,
    ) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
        // Parsed, never pasted: a line break in an address is an error, not a header.
        let to: Address = to.parse()?;
        let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.into())
            .date_now()
            .message_id(Some(format!("<{job}@{}>", self.from.email.domain())))
            // Keeps holiday replies away (RFC 3834).
            .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
            .subject(content.subject)
            .multipart(
                MultiPart::alternative()
                    .singlepart(part(ContentType::TEXT_PLAIN, content.text))
                    .singlepart(part(ContentType::TEXT_HTML, content.html)),
            )?;
        Ok(message)
    }
}

/// One form of the mail, as it stands wherever the standard allows it.
///
/// The library would wrap every line over 76 characters in quoted-printable, the link among them;
/// the standard's limit is 998 (RFC 5322, 2.1.1).
fn part(kind: ContentType, text: String) -> SinglePart {
    let plain = text.is_ascii() && text.lines().all(|line| line.len() <= 998);
    let body = if plain {
        let lines = text.lines().map(|line| format!("{line}\r\n"));
        let seven_bit = ContentTransferEncoding::SevenBit;
        Body::dangerous_pre_encoded(lines.collect::<String>().into_bytes(), seven_bit)
    } else {
        Body::new(text)
    };
    SinglePart::builder().header(kind).body(body)
}

fn transport(
    smtp: &settings::Smtp,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = match smtp.tls {
        SmtpTls::None => Tls::None,
        SmtpTls::StartTls => Tls::Required(TlsParameters::new(smtp.host.clone())?),
        SmtpTls::Tls => Tls::Wrapper(TlsParameters::new(smtp.host.clone())?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
        .port(smtp.port)
        .tls(tls)
        .timeout(Some(SMTP_TIMEOUT));
    if let Some((user, password)) = &smtp.credentials {
        let password = password.expose_secret().to_owned();
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

/// Whether the server refused us rather than the mail (RFC 4954, section 6: 530, 534, 535, 538).
/// That is ours to mend, and must not cost anybody a mail.
fn is_log_in(error: &lettre::transport::smtp::Error) -> bool {
    error
        .status()
        .is_some_and(|code| (530..540).contains(&u16::from(code)))
}

/// Time and id of the job: files sort by time, and a second attempt replaces the first one's file.
fn file_name(job: JobId) -> String {
    let id = Uuid::from(job);
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        + Duration::from_nanos(nanos.into());
    let format =
        format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
    format!("{}-{job}.eml", at.format(format).unwrap_or_default())
}

/// Writes the file so that whoever watches the folder sees it whole or not at all.
async fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let draft = folder.join(format!(".{name}.{}", Uuid::now_v7().simple()));
    tokio::fs::write(&draft, bytes).await?;
    tokio::fs::rename(&draft, folder.join(name)).await
}
