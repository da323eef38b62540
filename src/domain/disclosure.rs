//! Small cells: which cells of a table must not be shown, so that nobody is known by a small number and no shown sum gives a
//! hidden number away.
//!
//! A cell is small where it counts fewer than the bound, and more than none. What else is hidden follows from the sums that
//! a reader has: those of every line of the table, a line being the cells that agree in some of their attributes. That covers
//! the other questions that leave attributes out (by area beside by area and month), as far as their cells are these.

use std::collections::{BTreeSet, HashMap};

/// One cell: what it is a cell of, and what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The same attributes in the same places for every cell of the table, those that follow from others too (a code's area).
    pub attributes: Vec<String>,
    pub acts: u64,
    /// How many different persons, where that is shown.
    pub people: Option<u64>,
}

/// More attributes than this are not combined: a table has one for each dimension and those that follow from them.
const MOST_ATTRIBUTES: usize = 12;

/// Whether a number is small: more than none and fewer than the bound.
pub fn is_small(count: u64, smallest: u64) -> bool {
    count > 0 && count < smallest
}

/// For each cell whether it is hidden.
pub fn hidden(cells: &[Cell], smallest: u64) -> Vec<bool> {
    let small = |cell: &Cell| is_small(cell.acts, smallest) || cell.people.is_some_and(|p| is_small(p, smallest));
    let mut hidden: Vec<bool> = cells.iter().map(small).collect();
    if !hidden.contains(&true) {
        return hidden;
    }
    let lines = lines(cells);
    loop {
        let before = hidden.iter().filter(|h| **h).count();
        for line in &lines {
            close(line, cells, smallest, &mut hidden);
        }
        if hidden.iter().filter(|h| **h).count() == before {
            return hidden;
        }
    }
}

/// Hides the smallest that are shown until the hidden ones of the line are at least two, and not few together.
fn close(line: &[usize], cells: &[Cell], smallest: u64, hidden: &mut [bool]) {
    let cell = |at: usize| cells.get(at);
    let is_hidden = |hidden: &[bool], at: usize| hidden.get(at).copied().unwrap_or(true);
    loop {
        let away: Vec<&Cell> = line.iter().filter(|at| is_hidden(hidden, **at)).filter_map(|at| cell(*at)).collect();
        let acts: u64 = away.iter().map(|c| c.acts).sum();
        let people: Option<u64> = away.iter().map(|c| c.people).sum();
        let safe = away.len() >= 2 && acts >= smallest && people.is_none_or(|p| p >= smallest);
        if away.is_empty() || safe {
            return;
        }
        let shown = line.iter().copied().filter(|at| !is_hidden(hidden, *at));
        let next = shown.min_by_key(|at| cell(*at).map_or(u64::MAX, |c| c.acts));
        match next.and_then(|at| hidden.get_mut(at)) {
            Some(mark) => *mark = true,
            // Everything of the line is hidden, and so is its sum where it is small.
            None => return,
        }
    }
}

/// Every set of cells that agree in some attributes, of at least two cells; the same set once.
fn lines(cells: &[Cell]) -> BTreeSet<Vec<usize>> {
    let width = cells.iter().map(|c| c.attributes.len()).max().unwrap_or(0).min(MOST_ATTRIBUTES);
    let mut numbers: HashMap<(usize, &str), u32> = HashMap::new();
    let numbered: Vec<Vec<u32>> = cells
        .iter()
        .map(|cell| {
            let number = |(place, value)| {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                *numbers.entry((place, value)).or_insert(next)
            };
            cell.attributes.iter().map(String::as_str).enumerate().map(number).collect()
        })
        .collect();
    let mut lines = BTreeSet::new();
    for mask in 0..1_usize << width {
        let mut found: HashMap<Vec<u32>, Vec<usize>> = HashMap::new();
        for (at, values) in numbered.iter().enumerate() {
            let kept = values.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1).map(|(_, value)| *value);
            found.entry(kept.collect()).or_default().push(at);
        }
        lines.extend(found.into_values().filter(|line| line.len() > 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(attributes: &[&str], acts: u64) -> Cell {
        Cell { attributes: attributes.iter().map(|a| (*a).to_owned()).collect(), acts, people: None }
    }

    #[test]
    fn a_small_cell_takes_the_next_smallest_with_it_so_that_the_sum_does_not_tell() {
        let cells = [cell(&["tobacco"], 3), cell(&["alcohol"], 40), cell(&["nutrition"], 9)];
        assert_eq!(hidden(&cells, 5), [true, false, true]);
        assert_eq!(hidden(&cells, 3), [false, false, false], "three is not fewer than three");
    }

    #[test]
    fn two_small_cells_that_are_few_together_take_a_third() {
        let cells = [cell(&["a"], 1), cell(&["b"], 2), cell(&["c"], 30), cell(&["d"], 20)];
        assert_eq!(hidden(&cells, 5), [true, true, false, true]);
    }

    #[test]
    fn the_sum_of_a_row_or_column_does_not_tell_either() {
        let cells = [cell(&["a", "1"], 2), cell(&["a", "2"], 50), cell(&["b", "1"], 60), cell(&["b", "2"], 70)];
        assert_eq!(hidden(&cells, 5), [true, true, true, true]);
    }

    #[test]
    fn acts_of_few_people_are_hidden_where_people_are_counted() {
        let with = |name: &str, acts, people| Cell { people: Some(people), ..cell(&[name], acts) };
        assert_eq!(hidden(&[with("a", 90, 1), with("b", 80, 50), with("c", 70, 40)], 5), [true, false, true]);
    }

    proptest! {
        /// Whoever knows the sum of any line and the cells that are shown does not know a small number, nor any hidden one.
        #[test]
        fn no_sum_of_shown_cells_gives_a_hidden_one_away(
            counts in proptest::collection::vec((0_u8..3, 0_u8..3, 0_u8..2, 1_u64..12), 1..30), smallest in 2_u64..8,
        ) {
            let cells: Vec<Cell> = counts
                .iter()
                .map(|(a, b, c, n)| cell(&[&a.to_string(), &b.to_string(), &c.to_string()], *n))
                .collect();
            let hidden = hidden(&cells, smallest);
            for mask in 0..8_usize {
                let key = |c: &Cell| -> Vec<String> {
                    (0..3).filter(|p| mask >> p & 1 == 1).filter_map(|p| c.attributes.get(p).cloned()).collect()
                };
                let keys: BTreeSet<Vec<String>> = cells.iter().map(key).collect();
                for wanted in keys {
                    let line: Vec<usize> = (0..cells.len()).filter(|at| key(&cells[*at]) == wanted).collect();
                    let away: Vec<u64> = line.iter().filter(|at| hidden[**at]).map(|at| cells[*at].acts).collect();
                    let all_away = away.len() == line.len();
                    let sum: u64 = away.iter().sum();
                    prop_assert!(away.is_empty() || all_away || away.len() >= 2 && sum >= smallest);
                }
            }
            for (cell, hidden) in cells.iter().zip(&hidden) {
                prop_assert!(!is_small(cell.acts, smallest) || *hidden);
            }
        }
    }
}
