//! Sets of CPUs in the kernel's two ways of writing them: `0-3,8` and `ff,00000000`.

use std::collections::BTreeSet;
use std::fmt;

/// Most CPUs a list may name: what a kernel can be built for.
const CPUS_MAX: usize = 8_192;

/// A set of CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpus(pub BTreeSet<usize>);

impl Cpus {
    /// Reads `0-3,8`. Words that are no numbers are passed over: `managed_irq,domain,2-3`.
    #[must_use]
    pub fn list(text: &str) -> Self {
        let part = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let from: usize = from.trim().parse().ok()?;
            let to: usize = to.trim().parse().ok()?;
            Some(from..=to.min(CPUS_MAX))
        };
        Self(text.split(',').filter_map(part).flatten().collect())
    }

    /// Reads a mask of hexadecimal digits, 32 bits a word, the last word first.
    #[must_use]
    pub fn mask(text: &str) -> Self {
        let digits = text.chars().rev().filter_map(|c| c.to_digit(16));
        let bits = |(i, digit): (usize, u32)| {
            (0..4).filter(move |bit| digit >> bit & 1 == 1).map(move |bit| i * 4 + bit)
        };
        Self(digits.take(CPUS_MAX / 4).enumerate().flat_map(bits).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// Those in both.
    #[must_use]
    pub fn also_in(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }

    /// As a mask: `f0` for 4-7.
    #[must_use]
    pub fn to_mask(&self) -> String {
        let words = self.0.last().map_or(1, |last| last / 32 + 1);
        let word = |w: usize| {
            let bits = self.0.range(w * 32..w * 32 + 32);
            format!("{:08x}", bits.fold(0_u32, |word, cpu| word | 1 << (cpu % 32)))
        };
        (0..words).rev().map(word).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &cpu in &self.0 {
            match runs.last_mut() {
                Some((_, to)) if *to + 1 == cpu => *to = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        let run = |(a, b): (usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
        let text = runs.into_iter().map(run).collect::<Vec<_>>().join(",");
        f.write_str(if text.is_empty() { "none" } else { &text })
    }
}

impl FromIterator<usize> for Cpus {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_name_the_same() {
        for (list, mask) in [("0-3,8", "10f"), ("2", "4"), ("0,31-33", "3,80000001"), ("none", "0")]
        {
            let cpus = Cpus::list(list);
            assert_eq!(cpus, Cpus::mask(mask), "{list}");
            assert_eq!(Cpus::mask(&cpus.to_mask()), cpus, "{list}");
            assert_eq!(cpus.to_string(), list);
        }
        assert_eq!(Cpus::list("managed_irq,domain,2-3").to_string(), "2-3");
        assert!(Cpus::list("0-99999999999").0.len() <= CPUS_MAX + 1);
    }
}
