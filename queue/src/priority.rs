use std::{fmt, str::FromStr};

/// How soon a job starts, compared with others of its queue that wait too.
///
/// It is a share, not an order: of the starts that a worker has to give, jobs of high
/// priority get four for every two of normal and one of low, as long as there are any of
/// each; what one does not use the others get. So low jobs are slow beside high ones, and
/// never stand still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before the others: somebody waits for it.
    High,
    /// As usual.
    #[default]
    Normal,
    /// After the others: nobody would notice if it took an hour.
    Low,
}

impl Priority {
    /// How many there are.
    pub(crate) const LEVELS: usize = 3;

    /// By their levels.
    pub(crate) const ALL: [Self; Self::LEVELS] = [Self::Normal, Self::High, Self::Low];

    /// The first first.
    pub(crate) const ORDER: [Self; Self::LEVELS] = [Self::High, Self::Normal, Self::Low];

    /// The number of its stream: 0 is that of the releases that knew no priorities.
    pub(crate) const fn level(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::High => 1,
            Self::Low => 2,
        }
    }

    /// Whose turn it is, again and again: each as often as its weight, and spread.
    pub(crate) const TURNS: [Self; 7] = {
        use Priority::{High, Low, Normal};
        [High, Normal, High, Low, High, Normal, High]
    };

    /// Starts in a round, while there are jobs of all.
    pub(crate) const fn weight(self) -> usize {
        match self {
            Self::High => 4,
            Self::Normal => 2,
            Self::Low => 1,
        }
    }

    pub(crate) fn of_level(level: u8) -> Option<Self> {
        Self::ALL.get(usize::from(level)).copied()
    }
}

/// A text is not a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a priority: high, normal and low are")]
pub struct UnknownPriority;

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        })
    }
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(s: &str) -> Result<Self, UnknownPriority> {
        let named = |priority: &Self| priority.to_string() == s;
        Self::ALL.into_iter().find(named).ok_or(UnknownPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_its_place() {
        for (place, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(priority.level()), place);
            assert_eq!(Priority::of_level(priority.level()), Some(priority));
        }
        assert_eq!(Priority::of_level(3), None);
    }

    #[test]
    fn priorities_print_as_they_are_read() {
        for priority in Priority::ORDER {
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        assert_eq!("urgent".parse::<Priority>(), Err(UnknownPriority));
    }
}
