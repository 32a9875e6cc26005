//! Where mail arrives: MailDev's REST API in Docker, a folder natively.

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// A place that the stack delivers mail to.
pub(crate) enum Mailbox {
    /// A folder of `.eml` files.
    Folder(PathBuf),
    /// MailDev at `host:port`.
    MailDev(String),
}

impl Mailbox {
    /// The texts of all mails to `address`, oldest first.
    pub(crate) fn read(&self, address: &str) -> Result<Vec<String>> {
        match self {
            Self::Folder(folder) => read_folder(folder, address),
            Self::MailDev(api) => read_maildev(api, address),
        }
    }

    /// Waits for `count` mails to `address`.
    pub(crate) fn wait(
        &self,
        address: &str,
        count: usize,
        within: Duration,
    ) -> Result<Vec<String>> {
        let start = Instant::now();
        loop {
            let mails = self.read(address)?;
            if mails.len() >= count {
                return Ok(mails);
            }
            if start.elapsed() > within {
                bail!(
                    "{} of {count} mails to {address} arrived within {} s",
                    mails.len(),
                    within.as_secs()
                );
            }
            crate::clock::pause(Duration::from_millis(50));
        }
    }
}

fn read_folder(folder: &PathBuf, address: &str) -> Result<Vec<String>> {
    let mut paths: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).with_context(|| format!("reading {}", folder.display())),
    };
    paths.retain(|path| path.extension().is_some_and(|e| e == "eml"));
    paths.sort();
    let mut mails = Vec::new();
    for path in paths {
        let mail = fs::read_to_string(&path)?;
        if mail
            .lines()
            .any(|line| line.starts_with("To:") && line.contains(address))
        {
            mails.push(mail);
        }
    }
    Ok(mails)
}

fn read_maildev(api: &str, address: &str) -> Result<Vec<String>> {
    let response = minreq::get(format!("http://{api}/email"))
        .with_timeout(10)
        .send()
        .context("MailDev did not answer")?;
    let mails: serde_json::Value = serde_json::from_slice(response.as_bytes())?;
    let to_address = |mail: &&serde_json::Value| mail["to"][0]["address"] == address;
    let texts = mails.as_array().context("MailDev sent no list")?.iter();
    Ok(texts
        .filter(to_address)
        .filter_map(|mail| mail["text"].as_str().map(str::to_owned))
        .collect())
}

/// The verification token that a mail carries.
pub(crate) fn token(mail: &str) -> Result<String> {
    let line = mail
        .lines()
        .find_map(|line| line.trim().strip_prefix("Token: "));
    Ok(line
        .with_context(|| format!("no token in the mail:\n{mail}"))?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_token_is_read_from_its_line() {
        let mail = "To: a@example.org\r\n\r\nWelcome\r\n\r\nToken: abc-_1\r\nBye\r\n";
        assert_eq!(super::token(mail).unwrap(), "abc-_1");
        assert!(super::token("none").is_err());
    }
}
