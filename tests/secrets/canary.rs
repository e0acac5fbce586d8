//! Looking for texts where none of them may be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::harness::Home;

/// What stands in these bytes of these texts: as they are, in hex, or in base64 at any
/// place of a longer text.
pub(crate) fn found<'a>(bytes: &[u8], canaries: &[&'a str]) -> Vec<&'a str> {
    let text = String::from_utf8_lossy(bytes);
    let here = |canary: &str| forms(canary).iter().any(|form| text.contains(form));
    canaries.iter().copied().filter(|it| here(it)).collect()
}

/// The same in all files of a data folder, but for those that hold a key on purpose.
pub(crate) fn found_in_folder(folder: &Path, canaries: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for file in data_files(folder) {
        let bytes = match fs::read(&file) {
            // SQLite removes its log when it is closed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            bytes => bytes.unwrap(),
        };
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        all.extend(
            found(&bytes, canaries)
                .iter()
                .map(|it| format!("{it} in {name}")),
        );
    }
    all
}

/// The same in whatever a gateway keeps.
pub(crate) async fn found_in_home(home: &Home, canaries: &[&str]) -> Vec<String> {
    let kept = home.kept().await.into_iter();
    let each = kept.flat_map(|(place, bytes)| {
        let found = found(&bytes, canaries).into_iter();
        found
            .map(|it| format!("{it} in {place}"))
            .collect::<Vec<String>>()
    });
    each.collect()
}

/// The database, its log and whatever else is kept.
fn data_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| {
            let name = file.file_name().unwrap().to_string_lossy();
            !name.starts_with("master.key") && name != "admin.token"
        })
        .collect();
    files.sort();
    files
}

fn forms(canary: &str) -> Vec<String> {
    let mut forms = vec![
        canary.to_owned(),
        hex::encode(canary),
        hex::encode_upper(canary),
    ];
    for before in 0..3 {
        let shifted = [&vec![0; before], canary.as_bytes()].concat();
        let encoded = BASE64.encode(&shifted);
        // Without the letters that depend on what stands before and after.
        let start = (before * 8).div_ceil(6);
        let end = shifted.len() * 8 / 6;
        forms.push(encoded[start..end].to_owned());
    }
    forms
}

#[test]
fn a_canary_is_found_in_every_form() {
    let canary = "canary-of-something";
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{canary}xyz");
        for bytes in [
            text.clone().into_bytes(),
            hex::encode(&text).into_bytes(),
            BASE64.encode(&text).into_bytes(),
            [&[0xff, 0xfe][..], text.as_bytes()].concat(),
        ] {
            assert_eq!(found(&bytes, &[canary, "another"]), [canary]);
        }
    }
    assert!(found(b"canary-of-nothing", &[canary]).is_empty());
}
