//! The settings of webhooks.

use secrecy::ExposeSecret;

use super::{SECRETS, read};

#[test]
fn webhooks_have_a_key_in_each_line_and_private_targets_in_development_alone() {
    let read = |pairs: &[(&'static str, &'static str)]| read(pairs).map(|all| all.webhooks);
    let lines = "  Yb6N3Vx8aPq0ZtR5mWyZp7Lw2Qx9Rt4k\r\n\nhT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e\n";
    let keys = read(&[("WEBHOOK_SECRET", lines)]).unwrap().keys;
    let keys: Vec<_> = keys.iter().map(ExposeSecret::expose_secret).collect();
    let expected = ["Yb6N3Vx8aPq0ZtR5mWyZp7Lw2Qx9Rt4k", SECRETS[3].1];
    assert_eq!(keys, expected);
    for (lines, wrong) in [
        ("(none)", "WEBHOOK_SECRET  is not set"),
        (" \n\n", "WEBHOOK_SECRET  holds nothing but white space"),
        ("replace-me-with-a-long-random-text", "line 1 looks like"),
    ] {
        let told = read(&[("WEBHOOK_SECRET", lines)]).unwrap_err();
        assert!(told.contains(wrong), "{told}");
    }

    let allowed = [("WEBHOOK_ALLOW_PRIVATE", "true")];
    assert!(read(&allowed).unwrap().allow_private);
    for environment in ["staging", "production"] {
        let outside = [
            ("APP_ENV", environment),
            ("PUBLIC_URL", "https://app.test"),
            ("SMTP_HOST", "mail.test"),
        ];
        assert!(read(&outside).is_ok());
        let told = read(&[&outside[..], &allowed].concat()).unwrap_err();
        let expected = "WEBHOOK_ALLOW_PRIVATE  \"true\" would let every account reach";
        assert!(told.contains(expected), "{told}");
    }
}
