//! The steps that follow for one exchange from what it says now and what moved because of it before.

use super::{Answer, Move, Part, Said, Step};

/// The steps that follow for one exchange: from what it says now, and what moved because of it before (`past`, in order).
pub fn steps(said: &Said, past: &[&Move]) -> Vec<(Step, String, String)> {
    if past.iter().any(|m| m.step == Step::Void) {
        return Vec::new();
    }
    if said.retracted {
        let moved = !past.is_empty();
        return moved.then(|| (Step::Void, String::new(), String::new())).into_iter().collect();
    }
    let mut new: Vec<(Step, String, String)> = Vec::new();
    let mut areas: Vec<String> = Vec::new();
    let known = said.parts.iter().map(|p| &p.area).chain(&said.states).chain(past.iter().map(|m| &m.area));
    for area in known {
        if !areas.contains(area) {
            areas.push(area.clone());
        }
    }
    for area in areas {
        let last = |unit: &str, of: &[Step]| {
            let own = |m: &&&Move| m.area == area && m.unit == unit && of.contains(&m.step);
            past.iter().rfind(own).map(|m| m.step)
        };
        let has = |unit: &str| last(unit, &[Step::Takes, Step::Returns]) == Some(Step::Takes);
        let gave = |unit: &str| last(unit, &[Step::Gives, Step::Regains]) == Some(Step::Gives);
        let mut units: Vec<&str> = Vec::new();
        let everyone = past.iter().filter(|m| m.area == area).map(|m| m.unit.as_str());
        for unit in said.parts.iter().filter(|p| p.area == area).map(|p| p.unit.as_str()).chain(everyone) {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }

        let states = said.states.contains(&area);
        let stated = last(&said.sender, &[Step::States, Step::Lapses]) == Some(Step::States);
        if states && !stated {
            new.push((Step::States, area.clone(), said.sender.clone()));
        } else if !states && stated && said.states_lapse {
            new.push((Step::Lapses, area.clone(), said.sender.clone()));
        }
        let mut takers: Vec<&str> = Vec::new();
        for unit in &units {
            let part = said.parts.iter().find(|p| p.area == area && p.unit == **unit);
            let answer = part.map_or(Answer::No, |p| p.answer);
            let takes = answer == Answer::Yes && part.is_some_and(|p| p.speaks);
            match (has(unit), answer) {
                (false, _) if takes => {
                    new.push((Step::Takes, area.clone(), (*unit).to_owned()));
                    takers.push(unit);
                }
                (true, Answer::No) => new.push((Step::Returns, area.clone(), (*unit).to_owned())),
                (true, _) => takers.push(unit),
                (false, _) => {}
            }
        }
        if takers.is_empty() {
            // Whoever only agreed that another should have the area never had it. What then is nobody's is the sender's, also where
            // its own part ends with the others'.
            let stays = |part: &Part| part.area == area && part.unit == said.sender && part.answer == Answer::No;
            let own = gave(&said.sender) || (has(&said.sender) && said.parts.iter().any(stays));
            let had = |unit: &str| said.had.iter().any(|(of, by)| *of == area && by == unit);
            let others = units.iter().copied().filter(|unit| *unit != said.sender && gave(unit) && had(unit));
            let back = others.chain(own.then_some(said.sender.as_str()));
            new.extend(back.map(|unit| (Step::Regains, area.clone(), unit.to_owned())));
            continue;
        }
        // Whoever has a part of its own in the area does not give it away.
        let apart = |unit: &str| !said.parts.iter().any(|p| p.area == area && p.unit == unit && p.answer != Answer::No);
        let givers = said.givers.iter().filter(|unit| apart(unit) && !takers.contains(&unit.as_str()) && !gave(unit));
        new.extend(givers.map(|unit| (Step::Gives, area.clone(), unit.clone())));
    }
    new
}
