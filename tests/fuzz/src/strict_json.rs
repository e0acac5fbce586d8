//! JSON of hooks and public actions, and forms.

use std::fmt;

use metagov::plugins::kit::{Hook, JsonLimits};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use crate::take;

/// What is taken is what serde_json reads, within the limits and without a key twice;
/// what is refused is not.
pub fn strict_json(data: &[u8]) {
    bounded(data, &JsonLimits::default());
    let ([depth, values, string], rest) = take::<3>(data);
    bounded(
        rest,
        &JsonLimits {
            depth: 1 + usize::from(depth) % 8,
            values: usize::from(values) % 16,
            string: usize::from(string) % 8,
        },
    );
    form(data);
}

fn bounded(data: &[u8], limits: &JsonLimits) {
    let strict = limits.parse(data);
    let is_good = serde_json::from_slice::<Tree>(data).is_ok_and(|tree| {
        let mut values = 0;
        tree.fits(limits, 1, &mut values) && values <= limits.values
    });
    assert_eq!(strict.is_ok(), is_good, "{strict:?}");
    if let Ok(value) = strict {
        let usual: Value = serde_json::from_slice(data).expect("the same");
        assert_eq!(value, usual);
        let text = serde_json::to_vec(&value).expect("JSON");
        assert_eq!(limits.parse(&text), Ok(value));
    }
    let object = limits.object("body", data);
    assert_eq!(
        object.ok().map(Value::Object),
        limits.parse(data).ok().filter(Value::is_object)
    );
}

/// JSON as it stands there, keys that come twice included.
enum Tree {
    Leaf,
    Text(usize),
    List(Vec<Tree>),
    Fields(Vec<(String, Tree)>),
}

impl Tree {
    fn fits(&self, limits: &JsonLimits, depth: usize, values: &mut usize) -> bool {
        let mut inner = |item: &Tree| {
            *values += 1;
            item.fits(limits, depth + 1, values)
        };
        match self {
            Self::Leaf => true,
            Self::Text(length) => *length <= limits.string,
            // No short cut: all are to be counted.
            Self::List(items) => items
                .iter()
                .fold(depth <= limits.depth, |fits, item| inner(item) & fits),
            Self::Fields(fields) => {
                let mut keys: Vec<&String> = fields.iter().map(|(key, _)| key).collect();
                keys.sort();
                let once = keys.windows(2).all(|two| two[0] != two[1]);
                let short = keys.iter().all(|key| key.len() <= limits.string);
                fields
                    .iter()
                    .fold(once && short && depth <= limits.depth, |fits, (_, item)| {
                        inner(item) & fits
                    })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = from.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Fields(fields))
    }
}

/// A form is read as the `url` crate reads it, but that nothing is lost.
fn form(data: &[u8]) {
    let hook = Hook {
        body: data.to_vec().into(),
        ..Hook::default()
    };
    if let Ok(fields) = hook.form() {
        let mut usual: Vec<(String, String)> =
            url::form_urlencoded::parse(data).into_owned().collect();
        usual.sort();
        assert_eq!(fields.into_iter().collect::<Vec<_>>(), usual);
    }
}
