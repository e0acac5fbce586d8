//! Published vectors, and everything that differs from them by a little.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use serde::Deserialize;

use super::*;

const VECTORS: &str = include_str!("../../../../../tests/vectors/webhooks.json");

/// A hook that must be taken. `receive_time` is in seconds.
#[derive(Clone, Deserialize)]
struct Vector {
    id: String,
    scheme: String,
    secret: String,
    receive_time: i64,
    headers: BTreeMap<String, String>,
    body: String,
    event_id: Option<String>,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(VECTORS).unwrap()
}

fn vector(id: &str) -> Vector {
    vectors().into_iter().find(|v| v.id == id).unwrap()
}

fn at(seconds: i64) -> Time {
    Time(seconds * 1_000_000)
}

impl Vector {
    fn hook(&self) -> Hook {
        Hook {
            headers: self.headers.clone().into_iter().collect(),
            body: self.body.clone().into(),
            receive_time: at(self.receive_time),
            ..Hook::default()
        }
    }

    fn check(&self, hook: &Hook) -> Result<Verified> {
        self.check_with(hook, &[&self.secret])
    }

    fn check_with(&self, hook: &Hook, secrets: &[&str]) -> Result<Verified> {
        let secret = SigningSecret::new(secrets);
        match self.scheme.as_str() {
            "github" => github(hook, secret.as_ref()),
            "slack" => slack(hook, secret.as_ref()),
            "discourse" => discourse(hook, secret.as_ref()),
            "standard_webhooks" => standard_webhooks(hook, secret.as_ref()),
            "discord" => discord(hook, secrets.first().copied()),
            other => panic!("{other}"),
        }
    }
}

fn is_unsigned(result: Result<Verified>) -> bool {
    matches!(result, Err(Error::Unsigned(_)))
}

/// A hook with these headers, signed or not.
fn hook(headers: &[(&str, &str)], body: &[u8], seconds: i64) -> Hook {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Hook {
        headers: headers.iter().map(owned).collect(),
        body: body.to_vec().into(),
        receive_time: at(seconds),
        ..Hook::default()
    }
}

fn mac(key: &[u8], signed: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(signed);
    mac.finalize().into_bytes().into()
}

/// Every text that differs in one bit of one character.
fn flipped<'a>(text: &'a str, masks: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    let places = (0..text.len()).filter(|place| text.as_bytes()[*place].is_ascii());
    let both = places.flat_map(move |place| masks.iter().map(move |mask| (place, mask)));
    both.map(move |(place, mask)| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[place] ^= mask;
        String::from_utf8(bytes).unwrap()
    })
}

#[test]
fn every_vector_holds() {
    let all = vectors();
    assert_eq!(all.len(), 7);
    for vector in all {
        let verified = vector.check(&vector.hook()).unwrap();
        assert_eq!(verified.id, vector.event_id, "{}", vector.id);
        let expected = match &vector.event_id {
            Some(id) => Repeat::Id(id.clone()),
            None => Repeat::Body,
        };
        assert_eq!(verified.repeat(), expected);
        if vector.receive_time != 0 {
            assert_eq!(verified.time, Some(at(vector.receive_time)));
        }
    }
}

#[test]
fn every_flipped_bit_of_a_body_is_noticed() {
    for vector in vectors() {
        let good = vector.hook();
        for place in 0..good.body.len() * 8 {
            let mut bytes = good.body.to_vec();
            bytes[place / 8] ^= 1 << (place % 8);
            let bad = Hook {
                body: bytes.into(),
                ..good.clone()
            };
            assert!(is_unsigned(vector.check(&bad)), "{} {place}", vector.id);
        }
        for body in [&b""[..], &good.body[1..], &[&good.body[..], b"\n"].concat()] {
            let bad = Hook {
                body: body.to_vec().into(),
                ..good.clone()
            };
            assert!(is_unsigned(vector.check(&bad)), "{}", vector.id);
        }
    }
}

#[test]
fn every_changed_character_of_a_header_is_noticed() {
    for vector in vectors() {
        for (name, value) in &vector.headers {
            for changed in flipped(value, &[1, 32]) {
                let mut bad = vector.clone();
                bad.headers.insert(name.clone(), changed.clone());
                let found = bad.check(&bad.hook());
                assert!(is_unsigned(found), "{}: {name}: {changed}", vector.id);
            }
        }
    }
}

#[test]
fn every_changed_character_of_a_secret_is_noticed() {
    for vector in vectors() {
        // Not by 32: upper and lower case of a public key mean the same.
        for changed in flipped(&vector.secret, &[1, 4]) {
            let found = vector.check_with(&vector.hook(), &[&changed]);
            assert!(is_unsigned(found), "{}: {changed}", vector.id);
        }
    }
}

#[test]
fn without_a_secret_nothing_is_taken() {
    for vector in vectors() {
        let hook = vector.hook();
        let found = vector.check_with(&hook, &[]);
        assert_eq!(found, Err(unsigned(NO_SECRET)), "{}", vector.id);
        assert!(is_unsigned(vector.check_with(&hook, &["something else"])));
    }
    // An empty secret is none, and so is one that signs nothing.
    let empty = mac(b"", b"body");
    let signature = format!("sha256={}", hex::encode(empty));
    let signed = hook(&[("x-hub-signature-256", &signature)], b"body", 0);
    assert!(is_unsigned(github(
        &signed,
        SigningSecret::new(&[""]).as_ref()
    )));
    assert!(is_unsigned(discord(&signed, Some(""))));
}

#[test]
fn a_header_that_is_missing_empty_or_there_twice_is_refused() {
    for vector in vectors() {
        for name in vector.headers.keys() {
            let mut missing = vector.hook();
            missing.headers.retain(|(header, _)| header != name);
            assert!(is_unsigned(vector.check(&missing)), "{name}");
            for other in [vector.headers[name].as_str(), "", "v1,x"] {
                let mut twice = vector.hook();
                twice.headers.push((name.clone(), other.to_owned()));
                assert!(is_unsigned(vector.check(&twice)), "{name} {other}");
                twice.headers.rotate_right(1);
                assert!(is_unsigned(vector.check(&twice)), "{name} {other}");
            }
            let mut empty = vector.clone();
            empty.headers.insert(name.clone(), String::new());
            assert!(is_unsigned(empty.check(&empty.hook())), "{name}");
        }
    }
}

#[test]
fn either_of_two_secrets_holds_until_one_is_taken_away() {
    for vector in vectors().into_iter().filter(|v| v.scheme != "discord") {
        let (hook, right) = (vector.hook(), vector.secret.as_str());
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for secrets in [[right, other], [other, right], [right, right]] {
            assert!(vector.check_with(&hook, &secrets).is_ok(), "{}", vector.id);
        }
        assert!(is_unsigned(vector.check_with(&hook, &[other])));
    }
}

#[test]
fn a_signature_has_one_spelling() {
    for id in [
        "github-published",
        "discourse",
        "slack-published",
        "discord",
    ] {
        let vector = vector(id);
        let header = vector
            .headers
            .keys()
            .find(|name| name.contains("signature"));
        let header = match id {
            "discord" => "x-signature-ed25519",
            _ => header.unwrap(),
        };
        let good = vector.headers[header].clone();
        let digits = good.rsplit('=').next().unwrap();
        let prefix = good.strip_suffix(digits).unwrap();
        for bad in [
            digits[1..].to_owned(),
            good[..good.len() - 1].to_owned(),
            good[..good.len() - 2].to_owned(),
            format!("{good}0"),
            format!("{good}00"),
            format!("{prefix}{}", digits.to_uppercase()),
            good.to_uppercase(),
            format!("{prefix} {digits}"),
            format!(" {good}"),
            format!("{good} "),
            format!("{good},{good}"),
            format!("{good}, {good}"),
            format!("sha1={digits}"),
            format!("v1={digits}"),
            format!("sha256:{digits}"),
            format!("sha256=sha256={digits}"),
            format!("{prefix}0x{digits}"),
            format!("{prefix}\"{digits}\""),
            prefix.to_owned(),
            format!("{prefix}{}", "g".repeat(digits.len())),
            format!("{prefix}{}", "é".repeat(digits.len() / 2)),
        ] {
            let mut vector = vector.clone();
            vector.headers.insert(header.to_owned(), bad.clone());
            assert!(is_unsigned(vector.check(&vector.hook())), "{id}: {bad}");
        }
    }
}

#[test]
fn what_the_sha1_header_says_is_ignored() {
    let vector = vector("github-published");
    let mut sha1_only = vector.hook();
    sha1_only.headers[0].0 = "x-hub-signature".to_owned();
    assert!(is_unsigned(vector.check(&sha1_only)));
    let mut both = vector.hook();
    both.headers
        .push(("x-hub-signature".to_owned(), "sha1=nonsense".to_owned()));
    assert!(vector.check(&both).is_ok());
}

/// A hook of Slack with this time, rightly signed.
fn of_slack(timestamp: &str, now: i64) -> Hook {
    let signed = format!("v0:{timestamp}:payload=x");
    let signature = format!("v0={}", hex::encode(mac(b"secret", signed.as_bytes())));
    let headers = [
        ("x-slack-signature", signature.as_str()),
        ("x-slack-request-timestamp", timestamp),
    ];
    hook(&headers, b"payload=x", now)
}

/// The same of Standard Webhooks.
fn of_standard(timestamp: &str, now: i64) -> Hook {
    let signature = mac(&[7; 32], format!("msg.{timestamp}.{{}}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signature));
    let headers = [
        ("webhook-id", "msg"),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", &signature),
    ];
    hook(&headers, b"{}", now)
}

fn standard_secret() -> String {
    format!("whsec_{}", STANDARD.encode([7; 32]))
}

#[test]
fn a_signature_is_fresh_for_300_seconds_either_way() {
    let now = 1_531_420_618;
    let slack_secret = SigningSecret::new(&["secret"]);
    let standard_secret = SigningSecret::new(&[&standard_secret()]);
    let both = |timestamp: &str| {
        let first = slack(&of_slack(timestamp, now), slack_secret.as_ref());
        let second = standard_webhooks(&of_standard(timestamp, now), standard_secret.as_ref());
        [first, second]
    };
    for offset in [-300, -1, 0, 1, 300] {
        let time = now + offset;
        for verified in both(&time.to_string()) {
            assert_eq!(verified.unwrap().time, Some(at(time)));
        }
    }
    let stale = [-301, 301, -86_400, 1_000_000_000].map(|offset| (now + offset).to_string());
    let malformed = [
        "-1",
        "1e9",
        "",
        "0",
        "+1531420618",
        " 1531420618",
        "1531420618 ",
        "1531420618.0",
        "1_531_420_618",
        "0x5b47a28a",
        "0001531420618",
        "1531420618000",
        "18446744073709551616",
        "１５３１４２０６１８",
        "NaN",
    ];
    let malformed = malformed.map(str::to_owned);
    for timestamp in stale.into_iter().chain(malformed).chain(["9".repeat(5000)]) {
        for found in both(&timestamp) {
            assert!(is_unsigned(found), "{timestamp}");
        }
    }
}

#[test]
fn a_hook_that_waited_is_as_good_as_when_it_came() {
    let vector = vector("slack-published");
    let hook = vector.hook();
    assert!(vector.check(&hook).is_ok());
    let late = Hook {
        receive_time: at(vector.receive_time + 3600),
        ..hook
    };
    assert!(is_unsigned(vector.check(&late)));
}

#[test]
fn a_key_that_fits_every_signature_is_none() {
    // The neutral element as key and as R, and S = 0: not strict, this holds for all.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let signature = [neutral, [0; 32]].concat();
    let headers = [
        ("x-signature-ed25519", hex::encode(&signature)),
        ("x-signature-timestamp", "1700000000".to_owned()),
    ];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let ping = hook(&headers, br#"{"type":1}"#, 0);
    assert!(is_unsigned(discord(&ping, Some(&hex::encode(neutral)))));
    let public = format!("whpk_{}", STANDARD.encode(neutral));
    let signature = format!("v1a,{}", STANDARD.encode(&signature));
    let headers = [
        ("webhook-id", "msg"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", &signature),
    ];
    let sent = hook(&headers, b"{}", 1_700_000_000);
    let secret = SigningSecret::new(&[&public]);
    assert!(is_unsigned(standard_webhooks(&sent, secret.as_ref())));
}

#[test]
fn a_second_spelling_of_an_ed25519_signature_is_refused() {
    // S and S + L are the same number modulo the order L of the group.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let vector = vector("discord");
    let name = "x-signature-ed25519";
    let mut bytes = hex::decode(&vector.headers[name]).unwrap();
    let mut carry = 0;
    for (byte, more) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    let mut other = vector.clone();
    other.headers.insert(name.to_owned(), hex::encode(bytes));
    assert!(is_unsigned(other.check(&other.hook())));
}

#[test]
fn the_time_of_discord_does_not_run_into_the_body() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = hex::encode(key.verifying_key().as_bytes());
    let signed = br#"1700000000{"type":1}"#;
    let signature = hex::encode(key.sign(signed).to_bytes());
    let check = |split: usize| {
        let timestamp = std::str::from_utf8(&signed[..split]).unwrap();
        let headers = [
            ("x-signature-ed25519", signature.as_str()),
            ("x-signature-timestamp", timestamp),
        ];
        discord(&hook(&headers, &signed[split..], 0), Some(&public))
    };
    assert!(check(10).is_ok());
    // What is left of the digits makes the body no JSON.
    assert!(check(9).is_ok() && check(11).is_err() && check(0).is_err());
    assert!(discord(&hook(&[], b"", 0), Some("not hex")).is_err());
}

fn of_standard_with(id: &str, secret: &str, signatures: &str) -> Result<Verified> {
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", signatures),
    ];
    let sent = hook(&headers, br#"{"test": 2432232314}"#, 1_614_265_330);
    standard_webhooks(&sent, SigningSecret::new(&[secret]).as_ref())
}

#[test]
fn one_signature_of_a_list_is_enough() {
    let (v1, v1a) = (
        vector("standard-webhooks-published"),
        vector("standard-webhooks-v1a"),
    );
    let id = v1.headers["webhook-id"].clone();
    let first = v1.headers["webhook-signature"].clone();
    let second = v1a.headers["webhook-signature"].clone();
    let wrong = format!("v1,{}", STANDARD.encode([1; 32]));
    for list in [
        format!("{first} {second}"),
        format!("{second} {first}"),
        format!("{wrong} {first} {second}"),
        format!("v2,whatever v1 , {first}  {second}"),
        [vec![wrong.as_str(); 14], vec![&first, &second]]
            .concat()
            .join(" "),
    ] {
        for vector in [&v1, &v1a] {
            assert!(
                of_standard_with(&id, &vector.secret, &list).is_ok(),
                "{list}"
            );
        }
    }
    let digits = first.strip_prefix("v1,").unwrap();
    for list in [
        wrong.clone(),
        second.clone(),
        digits.to_owned(),
        format!("v1a,{digits}"),
        format!("V1,{digits}"),
        format!("v1,,{digits}"),
        format!("v1,{}", digits.trim_end_matches('=')),
        format!("v1,{}", digits.replace('+', "-").replace('/', "_")),
        format!("{wrong},{first}"),
        [vec![wrong.as_str(); 16], vec![&first]].concat().join(" "),
    ] {
        let found = of_standard_with(&id, &v1.secret, &list);
        // This signature has none of the characters that base64 writes in two ways.
        assert!(is_unsigned(found) || list == first, "{list}");
    }
}

#[test]
fn a_public_key_is_no_secret_and_a_secret_has_its_prefix() {
    let vector = vector("standard-webhooks-v1a");
    let public = vector.secret.strip_prefix("whpk_").unwrap();
    let id = vector.headers["webhook-id"].clone();
    let signed = format!("{id}.1614265330.{}", vector.body);
    let as_secret = mac(&STANDARD.decode(public).unwrap(), signed.as_bytes());
    let as_text = mac(vector.secret.as_bytes(), signed.as_bytes());
    for forged in [as_secret, as_text] {
        let forged = format!("v1,{}", STANDARD.encode(forged));
        assert!(is_unsigned(of_standard_with(&id, &vector.secret, &forged)));
    }
    let good = vector.headers["webhook-signature"].clone();
    for secret in [
        public.to_owned(),
        format!("whsk_{public}"),
        format!("WHPK_{public}"),
        format!("whpk_{}", STANDARD.encode([0; 31])),
        format!("whpk_{}", STANDARD.encode([0xff; 33])),
        "whpk_".to_owned(),
    ] {
        assert!(
            is_unsigned(of_standard_with(&id, &secret, &good)),
            "{secret}"
        );
    }
    for (length, fits) in [
        (0, false),
        (1, false),
        (23, false),
        (24, true),
        (64, true),
        (65, false),
    ] {
        let key = vec![7; length];
        let signature = format!("v1,{}", STANDARD.encode(mac(&key, signed.as_bytes())));
        let secret = format!("whsec_{}", STANDARD.encode(&key));
        let found = of_standard_with(&id, &secret, &signature);
        assert_eq!(found.is_ok(), fits, "{length}");
    }
}

#[test]
fn an_id_with_a_full_stop_is_none() {
    // The same signed bytes: `msg.1614265330` as id, `1614265331` as time, the rest as
    // body.
    let key = [7; 32];
    let body = br#"1614265331.{"test": 2432232314}"#;
    let signed = [b"msg.1614265330.".as_slice(), body].concat();
    let signature = format!("v1,{}", STANDARD.encode(mac(&key, &signed)));
    let headers = [
        ("webhook-id", "msg.1614265330"),
        ("webhook-timestamp", "1614265331"),
        ("webhook-signature", &signature),
    ];
    let shifted = hook(&headers, br#"{"test": 2432232314}"#, 1_614_265_331);
    let secret = SigningSecret::new(&[&standard_secret()]);
    assert!(is_unsigned(standard_webhooks(&shifted, secret.as_ref())));
}
