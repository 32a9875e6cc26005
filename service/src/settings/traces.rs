use axum::http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Environment, Reader,
    forms::{is_base_url, is_loopback},
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Where spans are exported to, and how many of them.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Base of a collector that speaks OTLP over HTTP, without a slash at the end.
    pub endpoint: String,
    /// What it is sent besides, as a vendor's key; known to be valid.
    pub headers: Vec<(String, SecretString)>,
    /// What the service is called there, if not by its own name.
    pub service: Option<String>,
    /// Which traces are exported.
    pub sampling: Sampling,
    /// Where the service runs.
    pub environment: Environment,
}

/// Which traces are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The part of all traces, from 0 to 1.
    pub ratio: f64,
    /// Whether a caller that sends a trace along decides of it in place of the ratio.
    pub follows_callers: bool,
}

impl Traces {
    /// Reads `OTEL_*`; nothing is exported without `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// Names and values are those of the OpenTelemetry specification
    /// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
    /// Outside of development, headers in the open are refused.
    pub fn read(reader: &mut Reader, environment: Environment) -> Option<Self> {
        let endpoint = endpoint(reader);
        let headers = headers(reader);
        let service = reader.optional_text("OTEL_SERVICE_NAME");
        let sampling = Sampling::read(reader);
        let endpoint = endpoint?;
        let in_the_open = endpoint.starts_with("http:") && !is_loopback(&endpoint);
        if environment != Environment::Development && in_the_open && !headers.is_empty() {
            let wrong = format!("{endpoint:?} would send {HEADERS} in the open");
            reader.problem(ENDPOINT, wrong, "outside of development, use https");
        }
        Some(Self {
            endpoint,
            headers,
            service,
            sampling,
            environment,
        })
    }
}

fn endpoint(reader: &mut Reader) -> Option<String> {
    let text = reader.optional_text(ENDPOINT)?;
    let url = text.trim_end_matches('/');
    if url.ends_with("/v1/traces") {
        let wrong = format!("{text:?} has the path that is added to it");
        reader.problem(ENDPOINT, wrong, "leave /v1/traces away");
    } else if !is_base_url(url) {
        let right = "an http or https address without a query, such as http://127.0.0.1:4318";
        reader.problem(ENDPOINT, format!("{text:?} is not {right}"), "");
    }
    Some(url.to_owned())
}

/// `name=value`, separated by commas, each value percent-encoded.
fn headers(reader: &mut Reader) -> Vec<(String, SecretString)> {
    let Some(text) = reader.optional_secret(HEADERS, 1) else {
        return Vec::new();
    };
    let parts = text.expose_secret().split(',').map(str::trim).enumerate();
    let parts = parts.filter(|(_, part)| !part.is_empty());
    let mut headers = Vec::new();
    for (at, part) in parts {
        match header(part) {
            Some(header) => headers.push(header),
            None => {
                // Without the part, which is secret.
                let wrong = format!("part {} is no header", at + 1);
                let right = "write name=value, with commas in between, and values percent-encoded";
                reader.problem(HEADERS, wrong, right);
            }
        }
    }
    headers
}

fn header(part: &str) -> Option<(String, SecretString)> {
    let (name, value) = part.split_once('=')?;
    let name: HeaderName = name.trim().parse().ok()?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    HeaderValue::from_str(&value).ok()?;
    Some((name.to_string(), value.into_owned().into()))
}

impl Sampling {
    fn read(reader: &mut Reader) -> Self {
        let part = reader.parsed(
            "OTEL_TRACES_SAMPLER_ARG",
            "a number from 0 to 1, such as 0.1 for a tenth",
            |text| text.parse().ok().filter(|part| (0.0..=1.0).contains(part)),
        );
        let right = "always_on, always_off, traceidratio, parentbased_always_on, \
                     parentbased_always_off or parentbased_traceidratio";
        reader.parsed("OTEL_TRACES_SAMPLER", right, |text| {
            let alone = text.strip_prefix("parentbased_");
            let ratio = match alone.unwrap_or(text) {
                "always_on" => 1.0,
                "always_off" => 0.0,
                "traceidratio" => part,
                _ => return None,
            };
            Some(Self {
                ratio,
                follows_callers: alone.is_some(),
            })
        })
    }
}
