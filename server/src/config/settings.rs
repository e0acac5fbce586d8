//! The rule that makes a flag a variable: `--a-b` is `METAGOV_A_B`.

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};
use std::error::Error as _;

const PREFIX: &str = "METAGOV_";

/// Lets every flag that takes a value be given as its variable, in the command and
/// below it. A variable that is set but empty counts as unset. A flag that hides its
/// variable has none: it says what to do this once, and is no setting.
pub fn with_variables(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let Some(flag) = arg.get_long().filter(|_| is_setting(&arg)) else {
            return arg;
        };
        let name = variable(flag);
        let empty = std::env::var_os(&name).is_some_and(|value| value.is_empty());
        // A variable's value may be a secret, and a default is said by the text.
        let arg = arg.hide_env_values(true).hide_default_value(true);
        if empty { arg } else { arg.env(name) }
    });
    command.mut_subcommands(with_variables)
}

fn is_setting(arg: &Arg) -> bool {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    takes_value && !arg.is_hide_env_set()
}

/// The variable of a flag.
fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}

/// A variable that looks like a setting and is none.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// The setting whose name is nearest.
    pub nearest: String,
}

/// Which of these variables look like settings of the command and are none.
pub fn unknown_variables(command: &Command, names: impl Iterator<Item = String>) -> Vec<Unknown> {
    let known = known_variables(command);
    let unknown = |name: &String| name.starts_with(PREFIX) && !known.contains(name);
    let mut unknown: Vec<Unknown> = names
        .filter(unknown)
        .map(|name| {
            let nearest = known.iter().min_by_key(|known| distance(known, &name));
            let nearest = nearest.cloned().unwrap_or_default();
            Unknown { name, nearest }
        })
        .collect();
    unknown.sort_by(|a, b| a.name.cmp(&b.name));
    unknown
}

fn known_variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter(|arg| is_setting(arg));
    let own = own.filter_map(|arg| arg.get_long());
    let mut known: Vec<String> = own.map(variable).collect();
    known.extend(command.get_subcommands().flat_map(known_variables));
    known
}

/// How many letters must be changed, added or dropped (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What is wrong with a command line, in one line that names the setting if it is one;
/// nothing for help and the like, which are no faults.
pub fn explain(error: &Error) -> Option<String> {
    malformed(error).or_else(|| in_one_line(error))
}

fn malformed(error: &Error) -> Option<String> {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = arg
        .split(' ')
        .next()
        .filter(|flag| flag.starts_with("--"))?;
    let why = match error.kind() {
        ErrorKind::ValueValidation => error.source()?.to_string(),
        ErrorKind::InvalidValue => {
            let (ContextValue::String(value), ContextValue::Strings(valid)) = (
                error.get(ContextKind::InvalidValue)?,
                error.get(ContextKind::ValidValue)?,
            ) else {
                return None;
            };
            if valid.is_empty() {
                // A flag that needs a value and has none.
                return None;
            }
            format!("{value:?} is none of {}", valid.join(", "))
        }
        _ => return None,
    };
    Some(format!("{flag} ({}): {why}", variable(&flag[2..])))
}

/// clap's own words and tips, without the usage.
fn in_one_line(error: &Error) -> Option<String> {
    let help = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || error.kind() == help {
        return None;
    }
    let text = error.to_string();
    let fault = text.split("\n\nUsage:").next()?;
    let fault = fault.split("\n\nFor more information").next()?;
    let lines = fault.trim_start_matches("error: ").lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    Some(lines.join("; ").replace(":; ", ": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let serve = Command::new("serve").arg(Arg::new("listen").long("listen"));
        let serve = serve.arg(Arg::new("poll").long("poll-interval"));
        let apply = Command::new("apply").arg(Arg::new("token").long("token"));
        Command::new("metagov").subcommands([serve, apply])
    }

    fn unknown(names: &[&str]) -> Vec<(String, String)> {
        let names = names.iter().map(ToString::to_string);
        let unknown = unknown_variables(&command(), names);
        unknown.into_iter().map(|u| (u.name, u.nearest)).collect()
    }

    #[test]
    fn a_flag_is_a_variable_in_every_subcommand() {
        let command = with_variables(command());
        let of = |verb: &str, id: &str| {
            let verb = command.find_subcommand(verb).unwrap();
            let arg = verb.get_arguments().find(|a| a.get_id() == id).unwrap();
            arg.get_env().unwrap().to_owned()
        };
        assert_eq!(of("serve", "poll"), "METAGOV_POLL_INTERVAL");
        assert_eq!(of("apply", "token"), "METAGOV_TOKEN");
    }

    #[test]
    fn what_hides_its_variable_has_none() {
        let role = Arg::new("role").long("role").hide_env(true);
        let command = with_variables(self::command().arg(role));
        let role = command.get_arguments().find(|a| a.get_id() == "role");
        assert_eq!(role.unwrap().get_env(), None);
        let names = ["METAGOV_ROLE".to_owned()];
        assert_eq!(unknown_variables(&command, names.into_iter()).len(), 1);
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_nearest_known_one() {
        let names = ["METAGOV_POL_INTERVAL", "METAGOV_LISTN", "HOME", "LISTN"];
        let expected = [
            ("METAGOV_LISTN", "METAGOV_LISTEN"),
            ("METAGOV_POL_INTERVAL", "METAGOV_POLL_INTERVAL"),
        ];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(unknown(&names), expected);
    }

    #[test]
    fn a_known_variable_of_any_subcommand_is_not_unknown() {
        assert_eq!(unknown(&["METAGOV_LISTEN", "METAGOV_TOKEN"]), []);
    }

    #[test]
    fn the_distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
