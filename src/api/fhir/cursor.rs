//! The places that `next` links go on from, sealed: what is inside counts every write of every unit, which is nobody's
//! business, and a link fits only the request that it was made for.
//!
//! The key is made at start. A link from before a restart cannot be read any more; whoever follows it is told to begin again.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::problem::Problem;

static KEY: LazyLock<Option<RandomizedNonceKey>> = LazyLock::new(|| {
    let mut key = [0; 32];
    rand::fill(&mut key).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
});

/// The place behind the resource version of that `seq`, in a list of `what`.
pub fn seal(what: &[u8], seq: i64) -> Result<String, Problem> {
    let fault = || Problem::fault("a place in a list could not be sealed");
    let key = KEY.as_ref().ok_or_else(fault)?;
    let mut sealed = seq.to_be_bytes().to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(what), &mut sealed).map_err(|_| fault())?;
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
}

/// The `seq` of a place that was sealed for `what`; nothing where it is not ours, or of another list.
pub fn open(what: &[u8], place: &str) -> Option<i64> {
    let mut bytes = URL_SAFE_NO_PAD.decode(place).ok()?;
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = KEY.as_ref()?.open_in_place(nonce, Aad::from(what), sealed).ok()?;
    Some(i64::from_be_bytes((&*opened).try_into().ok()?))
}

/// A link that does not fit, or of which the resource has gone from sight.
pub fn lost(name: &str) -> Problem {
    Problem::bad_request(
        name,
        "Länken passar inte här eller gäller inte längre; följ next oförändrad, eller börja om.",
        "The link does not fit here or holds no longer; follow next unchanged, or begin again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_opened_for_its_own_list_only_and_tells_nothing() {
        let (one, other) = (seal(b"Task/_history", 41).unwrap(), seal(b"Task/_history", 42).unwrap());
        assert_eq!((open(b"Task/_history", &one), open(b"Task/_history", &other)), (Some(41), Some(42)));
        assert_eq!(open(b"_history", &one), None);
        for place in ["", "41", "AAAA", &one[1..], &format!("{one}A"), &one.to_uppercase()] {
            assert_eq!(open(b"Task/_history", place), None, "{place}");
        }
        let differ = one.bytes().zip(other.bytes()).filter(|(a, b)| a != b).count();
        assert!(differ > 20 && one.len() == other.len(), "{one} {other}");
    }
}
