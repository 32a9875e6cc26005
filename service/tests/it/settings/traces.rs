//! The settings of the export of spans.

use secrecy::ExposeSecret;
use service::settings::{Sampling, Traces};

use super::read;

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

fn traces(pairs: &[(&'static str, &'static str)]) -> Result<Option<Traces>, String> {
    read(&[&[ENDPOINT], pairs].concat()).map(|all| all.traces)
}

#[test]
fn nothing_is_exported_without_a_collector() {
    assert!(read(&[]).unwrap().traces.is_none());
    let traces = traces(&[]).unwrap().unwrap();
    assert_eq!(traces.endpoint, "http://collector:4318");
    assert!(traces.headers.is_empty() && traces.service.is_none());
    for wrong in [
        "collector:4318",
        "https://user:k3Vx8aPq@collector",
        "http://collector:4318/v1/traces",
        "grpc://collector:4317",
    ] {
        let told = read(&[(ENDPOINT.0, wrong)]).unwrap_err();
        assert!(told.contains("OTEL_EXPORTER_OTLP_ENDPOINT  "), "{told}");
    }
}

#[test]
fn the_samplers_are_those_of_the_specification() {
    for (name, ratio, follows_callers) in [
        ("always_on", 1.0, false),
        ("always_off", 0.0, false),
        ("traceidratio", 0.25, false),
        ("parentbased_always_on", 1.0, true),
        ("parentbased_always_off", 0.0, true),
        ("parentbased_traceidratio", 0.25, true),
    ] {
        let sampler = ("OTEL_TRACES_SAMPLER", name);
        let traces = traces(&[sampler, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        let expected = Sampling {
            ratio,
            follows_callers,
        };
        assert_eq!(traces.unwrap().unwrap().sampling, expected, "{name}");
    }
    for (name, wrong) in [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER", "parentbased_"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
    ] {
        let told = traces(&[(name, wrong)]).unwrap_err();
        assert!(told.contains(&format!("{name}  \"{wrong}\"")), "{told}");
    }
}

#[test]
fn headers_are_secret_and_decoded_and_go_by_tls() {
    let given = "x-team=Zp7Lw2Qx9Rt4Yb6N, Authorization=Basic%20k3Vx8aPq0Z%3D";
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", given);
    let read = traces(&[headers]).unwrap().unwrap();
    let told = format!("{read:?}");
    assert!(!told.contains("Zp7Lw2Qx9Rt4Yb6N") && !told.contains("k3Vx8aPq0Z"));
    let pairs = read.headers.iter();
    let pairs: Vec<_> = pairs.map(|(n, v)| (&**n, v.expose_secret())).collect();
    let expected = [
        ("x-team", "Zp7Lw2Qx9Rt4Yb6N"),
        ("authorization", "Basic k3Vx8aPq0Z="),
    ];
    assert_eq!(pairs, expected);

    for wrong in [
        "x-team=a,k3Vx8aPq0ZtR5mWy",
        "k3Vx8aPq0Z tR5=a",
        "x-team=%0a",
    ] {
        let told = traces(&[(headers.0, wrong)]).unwrap_err();
        assert!(told.contains("OTEL_EXPORTER_OTLP_HEADERS  part "), "{told}");
        assert!(!told.contains("k3Vx8aPq0Z"), "{told}");
    }

    let outside = [
        ("APP_ENV", "production"),
        ("PUBLIC_URL", "https://app.test"),
        ("SMTP_HOST", "mail.test"),
    ];
    assert!(
        traces(&outside).is_ok(),
        "without headers there is no secret"
    );
    let told = traces(&[&outside[..], &[headers]].concat()).unwrap_err();
    assert!(
        told.contains("would send OTEL_EXPORTER_OTLP_HEADERS in the open"),
        "{told}"
    );
    for safe in ["https://collector.test", "http://127.0.0.1:4318"] {
        assert!(traces(&[&outside[..], &[headers, (ENDPOINT.0, safe)]].concat()).is_ok());
    }
}
