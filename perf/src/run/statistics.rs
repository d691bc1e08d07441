//! Medians and the interval around a ratio of medians. Pure: the resampling is seeded, so that the same runs give the same report.

/// Resamples behind an interval.
const RESAMPLES: usize = 10_000;
/// Fewer pairs say nothing about spread.
const PAIRS_MIN: usize = 4;

/// Of the finite values; none where there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The value a share of the sorted values lies below, by nearest rank.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ratio {
    pub value: f64,
    /// The 95 % interval of the percentile bootstrap over pairs.
    pub interval: Option<(f64, f64)>,
    /// The least and the most of the pairs' own ratios, where they are too few for an interval and more than one.
    pub range: Option<(f64, f64)>,
}

/// The ratio of the medians of first and second of each pair. Whole pairs are resampled: what disturbed the machine disturbed both halves.
pub fn ratio_of_medians(pairs: &[(f64, f64)]) -> Option<Ratio> {
    let value = ratio(pairs.iter().copied())?;
    if pairs.len() < PAIRS_MIN {
        let each: Vec<f64> = pairs.iter().map(|(first, second)| first / second).collect();
        let range = (each.len() > 1).then(|| each.iter().fold((f64::MAX, f64::MIN), |(low, high), one| (low.min(*one), high.max(*one))));
        return Some(Ratio { value, interval: None, range });
    }
    let mut random = XorShift(0x9e37_79b9_7f4a_7c15);
    let mut ratios: Vec<f64> = (0..RESAMPLES).filter_map(|_| ratio((0..pairs.len()).map(|_| pairs[random.below(pairs.len())]))).collect();
    ratios.sort_by(f64::total_cmp);
    let interval = (!ratios.is_empty()).then(|| (quantile(&ratios, 0.025), quantile(&ratios, 0.975)));
    Some(Ratio { value, interval, range: None })
}

fn ratio(pairs: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.unzip();
    let (first, second) = (median(&first)?, median(&second)?);
    (second != 0.0).then(|| first / second)
}

/// xorshift64*: enough to draw indices with.
struct XorShift(u64);

impl XorShift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (drawn as usize * bound) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both_middles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[f64::NAN, 3.0, f64::INFINITY]), Some(3.0));
    }

    #[test]
    fn equal_pairs_leave_no_doubt() {
        let ratio = ratio_of_medians(&[(2.0, 8.0); 10]).unwrap();
        assert_eq!(ratio, Ratio { value: 0.25, interval: Some((0.25, 0.25)), range: None });
    }

    #[test]
    fn the_interval_holds_the_ratio_and_widens_with_the_spread() {
        let steady: Vec<_> = (0..12).map(|n| (30.0 + f64::from(n % 3), 10.0 + f64::from(n % 2) * 0.1)).collect();
        let wild: Vec<_> = (0..12).map(|n| (10.0 + 5.0 * f64::from(n), 10.0)).collect();
        for pairs in [&steady, &wild] {
            let Ratio { value, interval, .. } = ratio_of_medians(pairs).unwrap();
            let (low, high) = interval.unwrap();
            assert!(low <= value && value <= high, "{low} {value} {high}");
        }
        let width = |pairs: &[(f64, f64)]| ratio_of_medians(pairs).unwrap().interval.map(|(low, high)| high - low).unwrap();
        assert!(width(&steady) < 0.3 && width(&wild) > 1.0);
        assert_eq!(ratio_of_medians(&wild), ratio_of_medians(&wild), "seeded");
    }

    #[test]
    fn two_different_halves_bound_the_interval() {
        // Medians of any resample are 1, 2 or 1.5 over exactly 1.
        let pairs = [(1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 1.0)];
        let Ratio { value, interval, .. } = ratio_of_medians(&pairs).unwrap();
        assert_eq!((value, interval), (1.5, Some((1.0, 2.0))));
    }

    #[test]
    fn few_pairs_have_no_interval_and_nothing_has_no_ratio() {
        assert_eq!(ratio_of_medians(&[(1.0, 2.0)]), Some(Ratio { value: 0.5, interval: None, range: None }));
        let few = ratio_of_medians(&[(1.0, 2.0), (3.0, 2.0), (2.0, 2.0)]).unwrap();
        assert_eq!(few, Ratio { value: 1.0, interval: None, range: Some((0.5, 1.5)) });
        assert_eq!(ratio_of_medians(&[]), None);
        assert_eq!(ratio_of_medians(&[(1.0, 0.0)]), None);
    }
}
