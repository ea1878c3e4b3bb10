//! Parts of a run, for several machines: which families each of them measures.
//!
//! Families are measured on machines of their own, so any split gives the same figures. The costliest
//! family goes to the part that has the least, then the next, until all are given out. What a family
//! costs is what its boot executed when `bench/baseline.json` was saved; a peer's counts as much as ours
//! of the same name. So a split follows from the sources and the arguments alone.

use super::baseline;
use super::session::Session;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// One of so many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// What a report says of being a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// The rows that were asked for.
    pub filter: String,
    /// All boots of the whole run, in order.
    pub whole: Vec<String>,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            let number = number.parse().ok()?;
            Some(Self {
                number,
                of: of.parse().ok()?,
            })
        });
        numbers
            .filter(|shard| (1..=shard.of).contains(&shard.number))
            .ok_or_else(|| "a part is K/N, K from 1 to N, as 2/4".to_owned())
    }
}

impl Shard {
    /// What a report of this part of a run of `sessions` says of it.
    pub(super) fn part(self, filter: &str, sessions: &[Session<'_>]) -> Part {
        Part {
            number: self.number,
            of: self.of,
            filter: filter.to_owned(),
            whole: sessions.iter().map(Session::label).collect(),
        }
    }

    /// Its part of `sessions`, in their order.
    ///
    /// # Errors
    ///
    /// If there are fewer than parts.
    pub(super) fn of<'a>(self, sessions: Vec<Session<'a>>) -> Result<Vec<Session<'a>>> {
        let labels: Vec<String> = sessions.iter().map(Session::group).collect();
        let costs = costs()?;
        let owners = split(&labels, self.of, &costs).with_context(|| format!("--shard {self}"))?;
        let ours = sessions.into_iter().zip(owners);
        let ours = ours.filter(|&(_, owner)| owner == self.number);
        Ok(ours.map(|(session, _)| session).collect())
    }
}

/// What each boot executed when the committed baseline was saved; nothing if there is none.
fn costs() -> Result<HashMap<String, u64>> {
    let boots = baseline::committed_costs()?.into_iter();
    Ok(boots.map(|boot| (boot.name, boot.instructions)).collect())
}

/// The part, from 1 to `parts`, that has each of `groups`; equal ones stay together.
fn split(groups: &[String], parts: usize, costs: &HashMap<String, u64>) -> Result<Vec<usize>> {
    let mut distinct: Vec<&String> = Vec::new();
    for group in groups {
        if !distinct.contains(&group) {
            distinct.push(group);
        }
    }
    ensure!(
        distinct.len() >= parts,
        "there are {} families, so at most as many parts",
        distinct.len()
    );
    let mut weighed: Vec<(u64, &String)> = distinct
        .into_iter()
        .map(|group| (cost(group, costs), group))
        .collect();
    // Stable: equal costs keep their order.
    weighed.sort_by_key(|&(cost, _)| std::cmp::Reverse(cost));
    let mut loads = vec![0_u64; parts];
    let mut owners = HashMap::new();
    for (cost, group) in weighed {
        // Each part is given something before any gets a second, whatever costs are.
        let lightest = (0..parts).min_by_key(|&part| (loads[part], part));
        let part = lightest.unwrap_or(0);
        loads[part] += cost.max(1);
        owners.insert(group, part + 1);
    }
    Ok(groups.iter().map(|group| owners[group]).collect())
}

/// What `group` cost; if nobody knows, what its end costs elsewhere, else the mean of all.
fn cost(group: &str, costs: &HashMap<String, u64>) -> u64 {
    let known = |name: &str| costs.get(name).copied();
    let ends = group.match_indices('/').map(|(at, _)| &group[at + 1..]);
    let mean = || costs.values().sum::<u64>() / (costs.len() as u64).max(1);
    known(group)
        .or_else(|| ends.into_iter().find_map(known))
        .unwrap_or_else(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(pairs: &[(&str, u64)]) -> HashMap<String, u64> {
        let pairs = pairs.iter();
        pairs.map(|&(name, cost)| (name.to_owned(), cost)).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_part_is_a_number_of_a_number() {
        let parsed: Shard = "2/4".parse().unwrap();
        assert_eq!((parsed.number, parsed.of), (2, 4));
        assert_eq!(parsed.to_string(), "2/4");
        for text in ["0/4", "5/4", "1", "1/0", "a/b", "-1/2"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_costliest_are_given_out_first_and_each_once() {
        let costs = costs(&[("a", 50), ("b", 10), ("c", 30), ("d", 30)]);
        let groups = names(&["a", "b", "c", "d"]);
        assert_eq!(split(&groups, 2, &costs).unwrap(), [1, 1, 2, 2]);
        assert_eq!(split(&groups, 1, &costs).unwrap(), [1; 4]);
        assert_eq!(split(&groups, 4, &costs).unwrap(), [1, 4, 2, 3]);
        let error = split(&groups, 5, &costs).unwrap_err().to_string();
        assert_eq!(error, "there are 4 families, so at most as many parts");
    }

    #[test]
    fn what_belongs_together_stays_together() {
        let groups = names(&["a", "sizes", "b", "sizes"]);
        let owners = split(&groups, 3, &HashMap::new()).unwrap();
        assert_eq!(owners[1], owners[3]);
        assert_ne!(owners[0], owners[2]);
    }

    #[test]
    fn a_peer_costs_what_ours_of_the_same_name_does() {
        let costs = costs(&[("mixed/toggle", 90), ("hot", 10)]);
        assert_eq!(cost("peer/talc/mixed/toggle", &costs), 90);
        assert_eq!(cost("mixed/toggle", &costs), 90);
        assert_eq!(cost("peer/talc/batch", &costs), 50);
        assert_eq!(cost("x", &HashMap::new()), 0);
    }
}
