//! Short texts from `grammar.txt`: plain English to train a base model on, pirate talk to fine-tune it with.

use std::collections::BTreeMap;

use cog_train::rng::Stream;

const GRAMMAR: &str = include_str!("grammar.txt");

/// A grammar that was read.
#[derive(Default)]
pub struct Corpus {
    lists: BTreeMap<&'static str, Vec<&'static str>>,
    talks: Vec<Talk>,
    /// The choices for each sentence of a story.
    story: Vec<Vec<&'static str>>,
}

#[derive(Default)]
struct Talk {
    questions: Vec<&'static str>,
    plain: Vec<&'static str>,
    pirate: Vec<&'static str>,
}

/// A question and its answer.
pub struct Pair {
    pub prompt: String,
    pub completion: String,
}

impl Corpus {
    pub fn new() -> Self {
        let mut corpus = Self::default();
        let mut section = "";
        for line in GRAMMAR.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']');
                match section {
                    "talk" => corpus.talks.push(Talk::default()),
                    "story" => corpus.story.push(Vec::new()),
                    _ => {}
                }
            } else if let Some(list) = section.strip_prefix("list ") {
                corpus.lists.entry(list).or_default().push(line);
            } else if section == "story" {
                if line == "-" {
                    corpus.story.push(Vec::new());
                } else {
                    corpus.story.last_mut().expect("a section was opened").push(line);
                }
            } else {
                let talk = corpus.talks.last_mut().expect("a section was opened");
                let (kind, text) = line.split_once(": ").expect("a line of a talk has its kind");
                match kind {
                    "Q" => talk.questions.push(text),
                    "A" => talk.plain.push(text),
                    "P" => talk.pirate.push(text),
                    _ => unreachable!("`{kind}` is none of Q, A, P"),
                }
            }
        }
        corpus
    }

    /// A text in plain English: a story, or a question with its answer.
    pub fn plain(&self, stream: &mut Stream) -> String {
        if stream.below(3) == 0 {
            let mut words = Words::default();
            let sentences: Vec<String> = self
                .story
                .iter()
                .map(|lines| words.fill(self, pick(stream, lines), stream))
                .collect();
            sentences.join(" ")
        } else {
            let Pair { prompt, completion } = self.talk(stream, |talk| &talk.plain);
            format!("{prompt} {completion}")
        }
    }

    /// A question in plain English, answered by a pirate.
    pub fn pirate(&self, stream: &mut Stream) -> Pair {
        self.talk(stream, |talk| &talk.pirate)
    }

    fn talk(&self, stream: &mut Stream, answers: impl Fn(&Talk) -> &Vec<&'static str>) -> Pair {
        let talk = &self.talks[below(stream, self.talks.len())];
        let mut words = Words::default();
        let prompt = words.fill(self, pick(stream, &talk.questions), stream);
        let completion = words.fill(self, pick(stream, answers(talk)), stream);
        Pair { prompt, completion }
    }
}

/// The values that names have in one text.
#[derive(Default)]
struct Words(BTreeMap<&'static str, &'static str>);

impl Words {
    fn fill(&mut self, corpus: &Corpus, template: &'static str, stream: &mut Stream) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').expect("a name ends with `}`");
            text.push_str(before);
            let value = self.value(corpus, name, stream);
            // An answer may begin with any value.
            if text.is_empty() || text.ends_with(". ") || text.ends_with("! ") {
                text.extend(value.chars().take(1).flat_map(char::to_uppercase));
                text.push_str(&value[1..]);
            } else {
                text.push_str(value);
            }
            rest = after;
        }
        text + rest
    }

    fn value(&mut self, corpus: &Corpus, name: &'static str, stream: &mut Stream) -> &'static str {
        let pronoun = match name {
            "He" | "he" => Some(["he", "she"]),
            "his" => Some(["his", "her"]),
            "him" => Some(["him", "her"]),
            _ => None,
        };
        if let Some([masculine, feminine]) = pronoun {
            let person = self.drawn(corpus, "name", stream);
            let word = if person.ends_with(" he") { masculine } else { feminine };
            return if name == "He" { ["He", "She"][usize::from(word == "she")] } else { word };
        }
        let value = self.drawn(corpus, name, stream);
        value.strip_suffix(" he").or(value.strip_suffix(" she")).unwrap_or(value)
    }

    fn drawn(&mut self, corpus: &Corpus, name: &'static str, stream: &mut Stream) -> &'static str {
        if let Some(value) = self.0.get(name) {
            return value;
        }
        let list = name.trim_end_matches('2');
        let values = &corpus.lists[list];
        let is_other = |(key, _): &(&&str, _)| **key != name && key.trim_end_matches('2') == list;
        let other = self.0.iter().find(is_other).map(|(_, value)| *value);
        let value = loop {
            let value = pick(stream, values);
            if Some(value) != other {
                break value;
            }
        };
        self.0.insert(name, value);
        value
    }
}

fn pick<'a>(stream: &mut Stream, values: &[&'a str]) -> &'a str {
    values[below(stream, values.len())]
}

fn below(stream: &mut Stream, count: usize) -> usize {
    usize::try_from(stream.below(count as u64)).expect("it is below `count`")
}
