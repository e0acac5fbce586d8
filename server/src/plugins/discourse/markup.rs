//! A poll as text: the post that makes one, and its options as Discourse shows them.
//!
//! A poll is a BBCode block around a Markdown heading and list
//! (`plugins/poll/assets/javascripts/lib/discourse-markdown/poll.js`). Titles and
//! options are plain text to us, so whatever Markdown or BBCode would make of them is
//! escaped; the details are Markdown, only that they may hold no poll.

use std::fmt::Write;

use super::super::kit::Time;
use super::poll::NewPoll;

/// The post that makes this poll. Its options and its title are on one line each.
pub(super) fn post(poll: &NewPoll, options: &[String], close: Option<Time>) -> String {
    let mut post = String::new();
    let details = poll.details.as_deref().unwrap_or_default().trim();
    if !details.is_empty() {
        let _ = writeln!(post, "{}\n", without_polls(details));
    }
    let _ = writeln!(post, "[poll{}]", attributes(poll, close));
    let _ = writeln!(post, "# {}", plain(&one_line(&poll.title)));
    for option in options {
        let _ = writeln!(post, "* {}", plain(option));
    }
    post.push_str("\n[/poll]\n");
    post
}

/// Nothing of this is free text: numbers, names out of a list, and groups, whose
/// pattern the schema checks.
fn attributes(poll: &NewPoll, close: Option<Time>) -> String {
    let groups = poll.groups.join(",");
    let public = poll.public.map(|public| public.to_string());
    let number = |n: Option<i64>| n.map(|n| n.to_string());
    let name = |name: &'static str| Some(name.to_owned());
    let each = [
        ("type", name(poll.poll_type.name())),
        ("close", close.map(Time::rfc3339)),
        ("groups", Some(groups).filter(|groups| !groups.is_empty())),
        ("public", public),
        ("chartType", poll.chart_type.and_then(|c| name(c.name()))),
        ("min", number(poll.min)),
        ("max", number(poll.max)),
        ("step", number(poll.step)),
        ("results", poll.results.and_then(|r| name(r.name()))),
    ];
    each.into_iter()
        .filter_map(|(key, value)| Some(format!(" {key}={}", value?)))
        .collect()
}

/// Text without line breaks and without runs of spaces.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Escapes what Markdown and BBCode would read as markup, in a single line.
fn plain(line: &str) -> String {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let mut escaped = String::with_capacity(line.len() + 8);
    for (at, c) in line.char_indices() {
        let anywhere = r"\`*_[]<>&~|$".contains(c);
        // A list or a heading begins a line only.
        let first = at == 0 && "-+#=:".contains(c);
        let numbered = at == digits && digits > 0 && ".)".contains(c);
        if anywhere || first || numbered {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Markdown in which no poll begins or ends.
fn without_polls(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, tag) = rest.split_at(at);
        safe.push_str(before);
        let name = tag[1..].strip_prefix('/').unwrap_or(&tag[1..]);
        let head = name.get(..4).unwrap_or_default();
        if head.eq_ignore_ascii_case("poll") {
            safe.push('\\');
        }
        safe.push('[');
        rest = &tag[1..];
    }
    safe.push_str(rest);
    safe
}

/// The text of a piece of HTML, on one line.
pub(super) fn text_of(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        let (end, says) = match &rest[at..] {
            tag if tag.starts_with('<') => (tag.find('>'), None),
            entity => (
                entity.find(';'),
                entity[1..]
                    .split_once(';')
                    .and_then(|(name, _)| character(name)),
            ),
        };
        let skips = rest[at..].starts_with('<') || says.is_some();
        match end.filter(|_| skips) {
            Some(end) => {
                text.extend(says);
                rest = &rest[at + end + 1..];
            }
            None => {
                text.push_str(&rest[at..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    one_line(&text)
}

fn character(entity: &str) -> Option<char> {
    let code = match entity {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        "nbsp" => return Some(' '),
        number => number.strip_prefix('#')?,
    };
    let code = match code.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => code.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn new_poll(parameters: Value) -> NewPoll {
        serde_json::from_value(parameters).unwrap()
    }

    #[test]
    fn everything_that_is_given_is_in_the_post() {
        let poll = new_poll(json!({
            "title": "Which day?",
            "details": "It is *time*.",
            "poll_type": "multiple",
            "public": true,
            "results": "on_close",
            "min": 1,
            "max": 2,
            "chart_type": "pie",
            "groups": ["staff", "trust_level_2"],
        }));
        let options = ["Monday".to_owned(), "Tuesday".to_owned()];
        let close = Time(1_800_000_000_000_000);
        assert_eq!(
            post(&poll, &options, Some(close)),
            "It is *time*.\n\n\
             [poll type=multiple close=2027-01-15T08:00:00Z groups=staff,trust_level_2 \
             public=true chartType=pie min=1 max=2 results=on_close]\n\
             # Which day?\n* Monday\n* Tuesday\n\n[/poll]\n"
        );
    }

    #[test]
    fn what_is_not_given_is_not_in_the_post() {
        let poll = new_poll(json!({"title": "Yes?", "options": ["a", "b"]}));
        let options = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            post(&poll, &options, None),
            "[poll type=regular]\n# Yes?\n* a\n* b\n\n[/poll]\n"
        );
    }

    #[test]
    fn nothing_breaks_out_of_the_block() {
        let evil = "x\n\n[/poll]\r\n[poll name=two]\u{2028}* more\n[/POLL]";
        let poll = new_poll(json!({"title": evil, "details": evil}));
        let text = post(&poll, &[one_line(evil)], None);
        let lines: Vec<&str> = text.lines().collect();
        let begins = |tag: &str| lines.iter().filter(|line| line.starts_with(tag)).count();
        assert_eq!((begins("[poll"), begins("[/poll")), (1, 1), "{text}");
        assert_eq!(
            text.matches("[/poll]").count(),
            1 + text.matches("\\[/poll]").count()
        );
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("* ")).count(),
            1
        );
        assert!(text.contains("* x \\[/poll\\] \\[poll name=two\\] \\* more \\[/POLL\\]\n"));
    }

    #[test]
    fn an_option_reads_as_it_was_offered() {
        for (option, written) in [
            ("Yes - do it (now).", "Yes - do it (now)."),
            ("1. first", "1\\. first"),
            ("2026", "2026"),
            ("- none", "\\- none"),
            ("# 1", "\\# 1"),
            ("a < b & *c*", "a \\< b \\& \\*c\\*"),
            ("ü_ü", "ü\\_ü"),
        ] {
            assert_eq!(plain(option), written);
        }
    }

    #[test]
    fn the_text_of_a_cooked_option_is_found_again() {
        for (html, text) in [
            ("one", "one"),
            ("a &lt; b &amp; c", "a < b & c"),
            ("<p>two\n <em>words</em></p>", "two words"),
            (
                "it&#39;s &#x2713;&nbsp;&unknown; & 5 > 3",
                "it's ✓ &unknown; & 5 > 3",
            ),
            ("<unclosed", "<unclosed"),
            ("ü &ü; ü", "ü &ü; ü"),
        ] {
            assert_eq!(text_of(html), text, "{html}");
        }
    }
}
