//! A client as anybody would write one: plain HTTP, JSON in and out.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How long one request may take, in seconds.
const TIMEOUT: u64 = 15;

/// Speaks to the API at one address.
pub(crate) struct Client {
    base: String,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) headers: std::collections::HashMap<String, String>,
    pub(crate) body: String,
}

impl Client {
    /// `address` is `host:port`.
    pub(crate) fn new(address: &str) -> Self {
        let base = format!("http://{}", address.trim_start_matches("http://"));
        Self {
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        send(minreq::get(format!("{}{path}", self.base)))
    }

    pub(crate) fn get_as(&self, path: &str, access_token: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        send(minreq::get(url).with_header("authorization", format!("Bearer {access_token}")))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.post_raw(path, "application/json", body.to_string())
    }

    pub(crate) fn post_raw(&self, path: &str, kind: &str, body: String) -> Result<Answer> {
        let request = minreq::post(format!("{}{path}", self.base));
        send(request.with_header("content-type", kind).with_body(body))
    }

    /// Also with headers of its own.
    pub(crate) fn post_as(
        &self,
        path: &str,
        access_token: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer> {
        let request = minreq::post(format!("{}{path}", self.base))
            .with_header("authorization", format!("Bearer {access_token}"))
            .with_header("content-type", "application/json")
            .with_body(body.to_string());
        let with = |request: minreq::Request, (name, value): &(&str, &str)| {
            request.with_header(*name, *value)
        };
        send(headers.iter().fold(request, with))
    }

    /// A page, for a browser that has this cookie; where it leads elsewhere, that is the answer.
    pub(crate) fn page(&self, path: &str, cookie: &str) -> Result<Answer> {
        let request = minreq::get(format!("{}{path}", self.base)).with_header("cookie", cookie);
        send(request.with_follow_redirects(false))
    }

    /// What a form of such a page sends.
    pub(crate) fn form(&self, path: &str, cookie: &str, fields: String) -> Result<Answer> {
        let request = minreq::post(format!("{}{path}", self.base))
            .with_header("cookie", cookie)
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_body(fields);
        send(request.with_follow_redirects(false))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Answer> {
        send(minreq::delete(format!("{}{path}", self.base)))
    }

    pub(crate) fn delete_as(&self, path: &str, access_token: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        send(minreq::delete(url).with_header("authorization", format!("Bearer {access_token}")))
    }
}

fn send(request: minreq::Request) -> Result<Answer> {
    let response = request
        .with_header("x-forwarded-for", someone())
        .with_timeout(TIMEOUT)
        .send()
        .context("the API did not answer")?;
    Ok(Answer {
        status: response.status_code,
        headers: response.headers.clone(),
        body: String::from_utf8_lossy(response.as_bytes()).into_owned(),
    })
}

/// An address of RFC 2544 that has hardly asked before: a scenario in a hurry must not run into the
/// limits of one client. The stack believes a proxy on this machine.
fn someone() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let [.., one, two] = now.unwrap_or_default().subsec_micros().to_be_bytes();
    format!("198.18.{one}.{two}")
}

impl Answer {
    /// The body, where the status is the one that was expected.
    pub(crate) fn expect(self, status: i32) -> Result<Self> {
        ensure!(
            self.status == status,
            "expected {status}, got {}: {}",
            self.status,
            self.body
        );
        Ok(self)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("the body is not JSON: {}", self.body))
    }

    /// A text field of the JSON body.
    pub(crate) fn text(&self, field: &str) -> Result<String> {
        let value = self.json()?;
        let text = value[field].as_str();
        Ok(text
            .with_context(|| format!("no text {field:?} in {value}"))?
            .to_owned())
    }

    /// Checks that the answer is an RFC 9457 document of this status, and that
    /// it carries the request's id in the body as in the header.
    pub(crate) fn expect_problem(self, status: i32) -> Result<Self> {
        let answer = self.expect(status)?;
        let kind = answer.header("content-type").unwrap_or_default();
        ensure!(
            kind.starts_with("application/problem+json"),
            "a {status} came as {kind:?}: {}",
            answer.body
        );
        let problem = answer.json()?;
        ensure!(problem["status"] == status, "the document says {problem}");
        ensure!(problem["title"].is_string(), "no title in {problem}");
        let id = answer.header("x-request-id");
        ensure!(
            id.is_some() && problem["request_id"].as_str() == id,
            "the request's id is {id:?} in the header, and in the document: {problem}"
        );
        Ok(answer)
    }
}
