//! The power of two choices.

use crate::mutants::{self, Mutant};

/// Picks one of `items` that is ready: of two at random, the one of less cost.
pub fn pick<T>(items: &[T], is_ready: impl Fn(&T) -> bool, cost: impl Fn(&T) -> f64) -> Option<&T> {
    if mutants::active(Mutant::BalancerPicksFirst) {
        return items.iter().find(|item| is_ready(item));
    }
    if items.len() >= 2 {
        let first = fastrand::usize(..items.len());
        let second = (first + fastrand::usize(1..items.len())) % items.len();
        let (a, b) = (&items[first], &items[second]);
        if is_ready(a) && is_ready(b) {
            return Some(if cost(a) <= cost(b) { a } else { b });
        }
    }
    pick_among_ready(items, is_ready, cost)
}

/// For when some are not ready: the two choices are among those that are.
fn pick_among_ready<T>(
    items: &[T],
    is_ready: impl Fn(&T) -> bool,
    cost: impl Fn(&T) -> f64,
) -> Option<&T> {
    let ready: Vec<&T> = items.iter().filter(|item| is_ready(item)).collect();
    let (a, b) = match ready.len() {
        0 => return None,
        1 => return Some(ready[0]),
        len => {
            let first = fastrand::usize(..len);
            (ready[first], ready[(first + fastrand::usize(1..len)) % len])
        }
    };
    Some(if cost(a) <= cost(b) { a } else { b })
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn equal_items_get_equal_shares() {
        fastrand::seed(7);
        let mut counts = [0_u32; 4];
        for _ in 0..8000 {
            counts[*pick(&[0, 1, 2, 3], |_| true, |_| 1.0).expect("one")] += 1;
        }
        // Binomial(8000, 1/4) has a standard deviation of 39: five of them.
        assert!(
            counts.iter().all(|count| count.abs_diff(2000) < 200),
            "{counts:?}"
        );
    }

    #[test]
    fn the_costliest_and_the_unready_are_not_picked() {
        fastrand::seed(7);
        for _ in 0..1000 {
            let picked = pick(&[1, 2, 3, 4], |item| *item != 1, |item| f64::from(*item));
            assert!(matches!(picked, Some(2 | 3)), "{picked:?}");
        }
        assert_eq!(pick(&[1, 2], |_| false, |_| 1.0), None);
    }
}
