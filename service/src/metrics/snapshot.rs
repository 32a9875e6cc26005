use prometheus::{CounterVec, GaugeVec, Opts, core::Collector, proto::MetricFamily};

/// The values of a label for each of its names, and what is measured there.
type Sample<'a> = (&'a [&'a str], f64);

/// What is so at the moment, asked for because somebody reads it.
///
/// It is made anew each time, so that what could not be found out is missing instead of old.
#[derive(Debug, Default)]
pub struct Snapshot(Vec<MetricFamily>);

impl Snapshot {
    /// Adds what can rise and fall, a sample for each of its labels' values.
    ///
    /// # Panics
    /// When the names are not valid, or a sample has not as many values as there are labels: a
    /// mistake of the program.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[&str], samples: &[Sample<'_>]) {
        let gauge = GaugeVec::new(Opts::new(name, help), labels);
        let gauge = gauge.expect("a metric has a valid name and labels");
        for (values, value) in samples {
            gauge.with_label_values(values).set(*value);
        }
        self.0.extend(gauge.collect());
    }

    /// Adds what somebody else has counted and only rises; the name ends in `_total`.
    ///
    /// # Panics
    /// As [`Self::gauge`], and when a value is negative.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[&str], samples: &[Sample<'_>]) {
        let counter = CounterVec::new(Opts::new(name, help), labels);
        let counter = counter.expect("a metric has a valid name and labels");
        for (values, value) in samples {
            counter.with_label_values(values).inc_by(*value);
        }
        self.0.extend(counter.collect());
    }

    /// Those that have a sample: the text format knows no others.
    pub(super) fn into_families(self) -> impl Iterator<Item = MetricFamily> {
        let families = self.0.into_iter();
        families.filter(|family| !family.get_metric().is_empty())
    }
}
