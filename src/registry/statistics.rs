//! Counts acts: by code, area, unit, level of care, period and distance, and how many people they were for.
//!
//! An act counts under the list in force now, whatever list was in force when it was taken in: the figures of all years are by
//! one list, and an area that the process team gives a code holds for what was done before too. The answer says which list that
//! is. An act on a day when its code was not valid, or whose code is not in the list, counts apart. Add-ons never count.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;

use crate::domain::Directory;
use crate::domain::disclosure::{Cell, hidden, is_small};
use crate::domain::kva::CodeList;
use crate::domain::statistic::{Dimension, NONE, in_force, month_name};
use crate::fhir::issue::{Code, Issue};
use crate::store::{ActQuestion, ActRow, ActSpan, Apart, Filter};
use crate::sync::Refusal;
use crate::{Gateway, InForce};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Both included, in Sweden.
    pub first: NaiveDate,
    pub last: NaiveDate,
    pub by: Vec<Dimension>,
    /// Empty: all.
    pub codes: Vec<String>,
    pub areas: Vec<String>,
    /// HSA-ids in upper case.
    pub units: Vec<String>,
    /// Whether people are counted too.
    pub people: bool,
}

/// Acts and people of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub acts: u64,
    /// Nothing where people are not counted.
    pub people: Option<u64>,
}

/// What was counted, with nothing hidden yet.
#[derive(Debug, Clone)]
pub struct Counted {
    pub question: Question,
    /// By the values of `question.by`, in that order.
    pub groups: BTreeMap<Vec<String>, Count>,
    pub total: Count,
    /// Acts whose code was not valid on their day, or is not in the list.
    pub outside: u64,
    pub list: InForce,
}

/// A number as it is shown: none where it is hidden.
pub type Shown = Option<u64>;

/// A group as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub values: Vec<String>,
    pub acts: Shown,
    /// None where people are not counted.
    pub people: Option<Shown>,
}

/// The answer, with small cells hidden.
#[derive(Debug, Clone)]
pub struct Table {
    pub question: Question,
    pub rows: Vec<Row>,
    pub total: Row,
    pub outside: Shown,
    pub smallest: u64,
    pub list: InForce,
}

/// Counts what the filter lets be seen.
pub async fn count(gateway: &Gateway, filter: &Filter, question: &Question) -> Result<Counted, Refusal> {
    let list = gateway.conformance.codes();
    let in_use = gateway.store.codes_in_use().await?;
    let spans = spans(question, &list.list, &in_use.into_iter().map(|used| used.code).collect::<Vec<_>>());
    let most = gateway.config.statistics.groups;
    let counter = Counter::new(question, &spans, &list.list, &gateway.config.directory, most);
    let of_unit = [Dimension::Unit, Dimension::Level];
    let apart = Apart {
        month: question.by.contains(&Dimension::Month),
        unit: !question.units.is_empty() || of_unit.iter().any(|dimension| question.by.contains(dimension)),
        patient: question.people,
    };
    let asked = ActQuestion { spans: spans.into_iter().map(|(span, _)| span).collect(), apart };
    let counter = gateway.store.fold_acts(filter, asked, counter, Counter::add).await?;
    if counter.is_over {
        return Err(Refusal::Findings(vec![Issue::error(
            Code::TooCostly,
            "by",
            format!("Svaret har fler än {most} rader (statistics.groups); ta bort en indelning eller korta perioden."),
            format!(
                "The answer has more than {most} rows (statistics.groups); leave out a dimension or shorten the period."
            ),
        )]));
    }
    Ok(counter.end(question.clone(), list))
}

/// Hides what must not be shown.
pub fn show(counted: Counted, smallest: u64, directory: &Directory) -> Table {
    let Counted { question, groups, total, outside, list } = counted;
    let follow: Vec<(usize, Dimension)> = question
        .by
        .iter()
        .enumerate()
        .filter(|(_, d)| d.implied().is_some_and(|implied| !question.by.contains(&implied)))
        .map(|(at, d)| (at, *d))
        .collect();
    let cells: Vec<Cell> = groups
        .iter()
        .map(|(values, count)| {
            let mut attributes = values.clone();
            attributes.extend(follow.iter().filter_map(|(at, dimension)| {
                let value = values.get(*at)?;
                Some(match dimension {
                    Dimension::Code => area_of(&list.list, value).to_owned(),
                    Dimension::Month => value.split('-').next().unwrap_or_default().to_owned(),
                    Dimension::Unit => level_of(directory, value).to_owned(),
                    _ => return None,
                })
            }));
            Cell { attributes, acts: count.acts, people: count.people }
        })
        .collect();
    let away = hidden(&cells, smallest);
    let row = |values: Vec<String>, count: Count, is_hidden: bool| Row {
        values,
        acts: (!is_hidden).then_some(count.acts),
        people: count.people.map(|people| (!is_hidden).then_some(people)),
    };
    let is_total_hidden = is_small(total.acts, smallest)
        || total.people.is_some_and(|people| is_small(people, smallest))
        || away.as_slice() == [true];
    let rows = groups.into_iter().zip(away).map(|((values, count), away)| row(values, count, away)).collect();
    Table {
        question,
        rows,
        total: row(Vec::new(), total, is_total_hidden),
        outside: (!is_small(outside, smallest)).then_some(outside),
        smallest,
        list,
    }
}

fn area_of<'a>(list: &'a CodeList, code: &str) -> &'a str {
    list.get(code).and_then(|known| known.area.as_deref()).unwrap_or(NONE)
}

fn level_of(directory: &Directory, unit: &str) -> &'static str {
    directory.find(unit).map_or(NONE, |known| known.level.code())
}

/// For each code the days on which its acts count, and those on which they count apart.
fn spans(question: &Question, list: &CodeList, in_use: &[String]) -> Vec<(ActSpan, bool)> {
    let (first, last) = (question.first, question.last);
    let mut spans = Vec::new();
    for code in in_use {
        let wanted = |all: &[String], one: &str| all.is_empty() || all.iter().any(|a| a == one);
        if !wanted(&question.codes, code) || !wanted(&question.areas, area_of(list, code)) {
            continue;
        }
        let mut add = |first: Option<NaiveDate>, last: Option<NaiveDate>, counts: bool| {
            if let (Some(first), Some(last)) = (first, last)
                && first <= last
            {
                spans.push((ActSpan { code: code.clone(), first, last }, counts));
            }
        };
        match list.get(code) {
            Some(known) if known.add_on => {}
            Some(known) => match in_force(known, first, last) {
                Some((from, to)) => {
                    add(Some(from), Some(to), true);
                    add(Some(first), from.pred_opt(), false);
                    add(to.succ_opt(), Some(last), false);
                }
                None => add(Some(first), Some(last), false),
            },
            None => add(Some(first), Some(last), false),
        }
    }
    spans
}

/// Adds rows up, on the thread that reads them. Values of groups are numbers here, because rows may be many.
struct Counter {
    by: Vec<Dimension>,
    units: Vec<String>,
    /// For each span its code, its area, and whether its acts count.
    spans: Vec<(u32, u32, bool)>,
    directory: Directory,
    people: bool,
    most: usize,
    is_over: bool,
    names: Names,
    /// For each unit its number and its level's; none where it is not asked for.
    places: HashMap<String, Option<(u32, u32)>>,
    /// For each month its number and its year's.
    months: HashMap<i32, (u32, u32)>,
    distance: [u32; 2],
    /// For each group its place and its acts.
    groups: HashMap<Vec<u32>, (u32, u64)>,
    seen: HashSet<(u32, i64)>,
    /// People by the place of their group.
    by_group: Vec<u64>,
    everybody: HashSet<i64>,
    total: u64,
    outside: u64,
}

/// Numbers that stand for names.
#[derive(Default)]
struct Names {
    all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

impl Counter {
    fn new(
        question: &Question,
        spans: &[(ActSpan, bool)],
        list: &CodeList,
        directory: &Directory,
        most: usize,
    ) -> Self {
        let mut names = Names::default();
        let mut known = |(span, counts): &(ActSpan, bool)| {
            (names.number(&span.code), names.number(area_of(list, &span.code)), *counts)
        };
        let spans = spans.iter().map(&mut known).collect();
        Self {
            by: question.by.clone(),
            units: question.units.clone(),
            spans,
            directory: directory.clone(),
            people: question.people,
            most,
            is_over: false,
            distance: ["false", "true"].map(|word| names.number(word)),
            names,
            places: HashMap::new(),
            months: HashMap::new(),
            groups: HashMap::new(),
            seen: HashSet::new(),
            by_group: Vec::new(),
            everybody: HashSet::new(),
            total: 0,
            outside: 0,
        }
    }

    fn place(&mut self, unit: &str) -> Option<(u32, u32)> {
        if let Some(place) = self.places.get(unit) {
            return *place;
        }
        let is_wanted = self.units.is_empty() || self.units.iter().any(|u| u == unit);
        let named = if unit.is_empty() { NONE } else { unit };
        let numbers = (self.names.number(named), self.names.number(level_of(&self.directory, unit)));
        let place = is_wanted.then_some(numbers);
        self.places.insert(unit.to_owned(), place);
        place
    }

    fn month(&mut self, month: i32) -> (u32, u32) {
        let names = &mut self.names;
        *self.months.entry(month).or_insert_with(|| {
            (names.number(&month_name(month)), names.number(&format!("{:04}", month.div_euclid(12))))
        })
    }

    fn add(&mut self, row: &ActRow<'_>) {
        let Some((unit, level)) = self.place(row.unit) else { return };
        let Some((code, area, counts)) = self.spans.get(row.span).copied() else { return };
        if !counts {
            self.outside += row.acts;
            return;
        }
        let (month, year) = self.month(row.month);
        let [near, far] = self.distance;
        let value = |dimension: &Dimension| match dimension {
            Dimension::Code => code,
            Dimension::Area => area,
            Dimension::Unit => unit,
            Dimension::Level => level,
            Dimension::Year => year,
            Dimension::Month => month,
            Dimension::Distance => {
                if row.distance {
                    far
                } else {
                    near
                }
            }
        };
        let key: Vec<u32> = self.by.iter().map(value).collect();
        self.total += row.acts;
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        if self.groups.len() >= self.most && !self.groups.contains_key(&key) {
            self.is_over = true;
            return;
        }
        let (group, acts) = self.groups.entry(key).or_insert((next, 0));
        *acts += row.acts;
        let group = *group;
        if let Some(patient) = row.patient.filter(|_| self.people) {
            self.everybody.insert(patient);
            if self.seen.insert((group, patient)) {
                let at = group as usize;
                self.by_group.resize(self.by_group.len().max(at + 1), 0);
                if let Some(people) = self.by_group.get_mut(at) {
                    *people += 1;
                }
            }
        }
    }

    fn end(self, question: Question, list: InForce) -> Counted {
        let people = |group: u32| self.people.then(|| self.by_group.get(group as usize).copied().unwrap_or(0));
        let name = |number: &u32| self.names.all.get(*number as usize).cloned().unwrap_or_default();
        let named = |(key, (group, acts)): (&Vec<u32>, &(u32, u64))| {
            (key.iter().map(name).collect(), Count { acts: *acts, people: people(*group) })
        };
        let everybody = self.people.then_some(self.everybody.len() as u64);
        Counted {
            question,
            groups: self.groups.iter().map(named).collect(),
            total: Count { acts: self.total, people: everybody },
            outside: self.outside,
            list,
        }
    }
}
