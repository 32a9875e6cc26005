use queue::{Envelope, Packer, Packing};
use serde_json::Value;

/// Most bytes of a payload, or of an error, that a page shows.
pub(super) const MOST: usize = 64 * 1024;

/// The payload of a job, as far as it can be shown.
pub(super) struct Payload {
    /// How large it is, and how it was packed, or why it cannot be shown.
    pub(super) about: String,
    pub(super) text: Option<String>,
}

impl Payload {
    /// Unpacks it with the keys that there are.
    pub(super) fn read(mut envelope: Envelope, packer: &Packer) -> Self {
        let packed = envelope.packing.map(packed).unwrap_or_default();
        if let Err(error) = packer.unpack(&mut envelope) {
            return Self {
                about: format!("cannot be shown: {error}"),
                text: None,
            };
        }
        let bytes = envelope.payload;
        let mut about = format!("{} bytes{packed}", bytes.len());
        let mut text = match serde_json::from_slice::<Value>(&bytes) {
            Ok(json) => format!("{json:#}"),
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        if text.len() > MOST {
            text.truncate(beginning(&text, MOST).len());
            about.push_str(", the beginning of which is here: `worker jobs show` has all of it");
        }
        Self {
            about,
            text: Some(text),
        }
    }
}

/// At most so many bytes of a text, and no half of a character.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn packed(packing: Packing) -> String {
    let compressed = if packing.compressed {
        ", compressed"
    } else {
        ""
    };
    let encrypted = packing.key.map(|id| format!(", encrypted with key {id}"));
    format!("{compressed}{}", encrypted.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::jobs::ResendVerification;
    use queue::Keyring;

    fn envelope(email: String) -> Envelope {
        Envelope::new(&ResendVerification { email }).unwrap()
    }

    #[test]
    fn a_long_payload_is_cut_between_two_characters() {
        let long = Payload::read(envelope("é".repeat(100_000)), &Packer::default());
        assert!(
            long.about.starts_with("200012 bytes, the beginning"),
            "{}",
            long.about
        );
        let text = long.text.unwrap();
        assert!(
            text.len() <= MOST && text.len() > MOST - 4,
            "{}",
            text.len()
        );
    }

    #[test]
    fn what_is_encrypted_is_shown_with_its_key_alone() {
        let keys = Keyring::new(Some(7), [(7, &[9; 32])]).unwrap();
        let packer = Packer {
            compress_above: None,
            keys,
        };
        let mut sealed = envelope("ada@example.com".to_owned());
        packer.pack(&mut sealed);
        let shown = Payload::read(sealed.clone(), &packer);
        assert_eq!(shown.about, "27 bytes, encrypted with key 7");
        assert!(shown.text.unwrap().contains("ada@example.com"));
        let not = Payload::read(sealed, &Packer::default());
        assert_eq!(
            not.about,
            "cannot be shown: encrypted with key 7, which is not here"
        );
        assert_eq!(not.text, None);
    }
}
