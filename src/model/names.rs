//! Names inside a ReleaseSet: DNS labels (RFC 1123), each kind of name a type of its own.

use std::fmt;
use std::str::FromStr;

/// Longest DNS label (RFC 1123 §2.1).
pub const LABEL_MAX_BYTES: usize = 63;

/// Label of everything that a ReleaseSet made (targets, smoke Jobs and their pods): its name.
pub const SET_LABEL: &str = "tidegate.dev/set";

/// Why a string is no DNS label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a DNS label: use 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
)]
pub struct NotALabel(pub String);

/// True for a DNS label of RFC 1123.
pub fn is_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=LABEL_MAX_BYTES).contains(&bytes.len())
        && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
        && bytes.first().is_some_and(|&byte| alphanumeric(byte))
        && bytes.last().is_some_and(|&byte| alphanumeric(byte))
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotALabel;
            fn from_str(text: &str) -> Result<Self, NotALabel> {
                if is_label(text) { Ok(Self(text.to_owned())) } else { Err(NotALabel(text.to_owned())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

label!(
    /// `spec.images[].name`: one sibling of a release set.
    ImageName
);
label!(
    /// `spec.gates[].name`.
    GateName
);
label!(
    /// `spec.targets[].name`.
    TargetName
);

/// Which ReleaseSet: namespace, name and the uid that tells a recreated object from its predecessor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetName {
    /// Namespace of the object; everything that the set names lives there too.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// `metadata.uid`; empty for a set that was read from a file.
    pub uid: String,
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rfc_1123() {
        for good in ["a", "app-2", "0a", &"x".repeat(63)] {
            assert!(good.parse::<ImageName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "App", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
