//! Whether a text repeats another: whole, or in a part so long that nobody writes it twice by chance.

/// Words in a row that two people do not write alike by chance.
const LONG: usize = 12;
/// A whole message of fewer words is too common to be told from one's own ("Tack, hälsningar").
const SHORT: usize = 4;

/// Whether `text` has the message in it, whole or in a long part. Case, spacing and marks do not count.
pub fn is_copied(text: &str, message: &str) -> bool {
    let (text, message) = (words(text), words(message));
    if message.len() < SHORT {
        return false;
    }
    longest_run(&text, &message) >= message.len().min(LONG)
}

fn words(text: &str) -> Vec<String> {
    let letters = |word: &str| word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    text.split_whitespace().map(letters).filter(|word: &String| !word.is_empty()).collect()
}

/// The most words in a row that both have.
fn longest_run(a: &[String], b: &[String]) -> usize {
    let (mut before, mut longest) = (vec![0_usize; b.len() + 1], 0);
    for word in a {
        let mut row = vec![0_usize; b.len() + 1];
        for (index, other) in b.iter().enumerate() {
            if word == other {
                let run = before.get(index).copied().unwrap_or(0) + 1;
                if let Some(cell) = row.get_mut(index + 1) {
                    *cell = run;
                }
                longest = longest.max(run);
            }
        }
        before = row;
    }
    longest
}
