//! Where everything that rules name lies in a row of values: metrics, and after them the rest.

use std::sync::Arc;

use super::Rule;
use super::term::{Among, Term};
use crate::metrics::{Layout, Metric, Slot};
use crate::time::Window;

/// Something a compiled condition needs is not in the row it is compiled against.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{term} is not followed")]
pub struct NotFollowed {
    /// What it is.
    pub term: Term,
}

/// The metrics that are followed, and what else rules read.
#[derive(Clone, Debug, PartialEq)]
pub struct Bindings {
    layout: Layout,
    lagged: Vec<(Metric, Window)>,
    among: Vec<Arc<Among>>,
}

impl Bindings {
    /// What `rules` name, with the default windows and `more`.
    #[must_use]
    pub fn new(rules: &[Rule], floors: bool, more: &[Window]) -> Self {
        let mut terms: Vec<Term> = Vec::new();
        let mut see = |term: &Term| {
            if !terms.contains(term) {
                terms.push(term.clone());
            }
        };
        for variant in rules.iter().flat_map(Rule::variants) {
            variant.visit_all_terms(floors, &mut |term| {
                if let Term::Among(among) = term {
                    among.argument().visit_terms(&mut |inner, _| see(inner));
                }
                see(term);
            });
        }
        let mut windows = more.to_vec();
        windows.extend(rules.iter().map(|rule| rule.timeframe));
        for term in &terms {
            term.visit_metrics(&mut |metric| windows.extend(metric.window()));
        }
        let mut bindings =
            Self { layout: Layout::new(windows), lagged: Vec::new(), among: Vec::new() };
        for term in terms {
            match term {
                Term::Now(_) => {}
                Term::Then(metric, ago) => bindings.lagged.push((metric, ago)),
                Term::Among(among) => bindings.among.push(among),
            }
        }
        bindings
    }

    /// The metrics.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A row in which nothing is ready.
    #[must_use]
    pub fn row(&self) -> Vec<f64> {
        let mut row = self.layout.row();
        row.resize(row.len() + self.lagged.len() + self.among.len(), f64::NAN);
        row
    }

    /// Where `term` lies.
    ///
    /// # Errors
    /// When it is not followed.
    pub fn slot(&self, term: &Term) -> Result<Slot, NotFollowed> {
        let slot = match term {
            Term::Now(metric) => self.layout.slot(*metric),
            Term::Then(metric, ago) => {
                let place = self.lagged.iter().position(|known| known == &(*metric, *ago));
                place.and_then(|place| self.layout.beyond(place))
            }
            Term::Among(among) => {
                let place = self.among.iter().position(|known| known == among);
                place.and_then(|place| self.layout.beyond(self.lagged.len() + place))
            }
        };
        slot.ok_or_else(|| NotFollowed { term: term.clone() })
    }

    /// The metrics of some time ago that are read.
    #[must_use]
    pub fn lagged(&self) -> &[(Metric, Window)] {
        &self.lagged
    }

    /// The numbers that take all symbols to tell.
    #[must_use]
    pub fn among(&self) -> &[Arc<Among>] {
        &self.among
    }

    /// What lies in a row besides the metrics.
    pub fn beyond(&self) -> impl Iterator<Item = Term> + '_ {
        let lagged = self.lagged.iter().map(|(metric, ago)| Term::Then(*metric, *ago));
        lagged.chain(self.among.iter().map(|among| Term::Among(Arc::clone(among))))
    }
}
