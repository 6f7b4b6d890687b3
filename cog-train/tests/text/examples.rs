//! Examples: which tokens are trained, and what is said of rows that lose them.

use std::collections::BTreeSet;

use cog_train::CancelToken;
use cog_train::data::{Dataset, Rows};
use cog_train::serde_json::{Value, json};
use cog_train::text::{
    Chat, ChatTemplate, Content, Example, ExampleBuilder, Examples, Report, Row, Tokenizer,
    Truncation, Turns,
};

use crate::golden::fixtures;

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::open(fixtures().join(name)).unwrap()
}

fn template(name: &str, tokenizer: &Tokenizer) -> ChatTemplate {
    let path = fixtures().join("templates").join(format!("{name}.jinja"));
    ChatTemplate::new(&std::fs::read_to_string(path).unwrap(), tokenizer).unwrap()
}

/// The text of each trained range.
fn trained(tokenizer: &Tokenizer, example: &Example) -> Vec<String> {
    let text = |range: &std::ops::Range<usize>| tokenizer.decode_all(&example.ids()[range.clone()]);
    example.trained().iter().map(|range| text(range).unwrap()).collect()
}

fn pair(prompt: &str, completion: &str) -> Row {
    let text = |text: &str| Content::Text(text.to_owned());
    Row::Completion { prompt: text(prompt), completion: text(completion) }
}

fn make(builder: &ExampleBuilder<'_>, rows: Vec<Row>) -> Result<Examples, cog_train::Error> {
    builder.examples(Rows::new(rows), &CancelToken::new())
}

#[test]
fn a_completion_and_its_end_are_trained_and_its_prompt_is_not() {
    for name in ["bytes", "pieces"] {
        let tokenizer = tokenizer(name);
        let builder = ExampleBuilder::new(&tokenizer, 100);
        let eos = tokenizer.special().eos.unwrap();
        for (prompt, completion) in [
            ("The capital of France is", " Paris."),
            ("The capital of Fra", "nce"), // the border is within a token of the whole
            ("", "all of it"),
            ("é 東", "京 😀"),
        ] {
            let examples = builder.of(&pair(prompt, completion)).unwrap();
            let [example] = &examples[..] else { panic!("one example") };
            let [range] = example.trained() else { panic!("one range") };
            assert_eq!(range.end, example.ids().len());
            assert_eq!(example.ids().last(), Some(&eos));
            // A model that is given the prompt continues exactly there.
            let start = range.start.max(tokenizer.prefix().len());
            if !prompt.is_empty() {
                assert_eq!(example.ids()[..start], tokenizer.encode(prompt).unwrap());
            }
            let bos = |id: &&u32| Some(**id) == tokenizer.special().bos;
            assert_eq!(example.ids().iter().filter(bos).count(), tokenizer.prefix().len());
            let whole = tokenizer.decode(example.ids()).unwrap();
            assert_eq!(whole.replace(' ', ""), format!("{prompt}{completion}").replace(' ', ""));
        }
        // An end and a beginning that are written already are not doubled.
        let special = ["<s>", "</s>"].map(|token| if name == "pieces" { token } else { "" });
        let row = pair(&format!("{}The", special[0]), &format!(" answer{}", special[1]));
        let ids = builder.of(&row).unwrap()[0].ids().to_vec();
        assert_eq!(ids.iter().filter(|id| **id == eos).count(), 1);
        let bos = ids.iter().filter(|id| Some(**id) == tokenizer.special().bos).count();
        assert_eq!(bos, tokenizer.prefix().len());
    }
}

/// Templates whose prompts begin each longer conversation, with what ends their answers.
const PLAIN: &[(&str, &str, &str)] = &[
    ("bytes", "chatml", "<|im_end|>"),
    ("bytes", "llama3", "<|eot_id|>"),
    ("bytes", "qwen3", "<|im_end|>"),
    ("bytes", "hermes_tools", "<|im_end|>"),
    ("bytes", "zephyr", "<|im_end|>"),
    ("bytes", "alpaca", "<|im_end|>"),
    ("pieces", "llama2", "</s>"),
    ("pieces", "mistral", "</s>"),
    ("pieces", "vicuna", "</s>"),
    ("pieces", "zephyr", "</s>"),
    ("pieces", "alpaca", "</s>"),
    ("bytes", "chatml_generation", "<|im_end|>"),
    ("pieces", "special_cases", "</s>"),
];

#[test]
fn answers_with_their_stop_token_are_trained_and_no_users_token_is() {
    for &(folder, name, stop) in PLAIN {
        let tokenizer = tokenizer(folder);
        let template = template(name, &tokenizer);
        let builder = ExampleBuilder::new(&tokenizer, 1000).template(&template);
        let chat = Chat::of([
            ("user", "QQQ first"),
            ("assistant", "Rome answers"),
            ("user", "QQQ second"),
            ("assistant", "Paris answers"),
        ]);
        let examples = builder.of(&Row::Chat(chat.clone())).unwrap();
        let found = trained(&tokenizer, &examples[0]);
        let expected = ["Rome answers", "Paris answers"].map(|answer| format!("{answer}{stop}"));
        let found: Vec<String> =
            found.iter().map(|text| text.replace(&format!(" {stop}"), stop)).collect();
        assert_eq!(found.len(), 2, "{name}: {found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.trim_start().ends_with(expected), "{name}: {found:?}");
            assert!(!found.contains("QQQ"), "{name}: {found:?}");
        }
        let last = builder.turns(Turns::Last).of(&Row::Chat(chat.clone())).unwrap();
        assert_eq!(trained(&tokenizer, &last[0]).len(), 1, "{name}");
        assert_eq!(last[0].trained().last(), examples[0].trained().last(), "{name}");
        // The same conversation as a prompt of three messages and a completion of one.
        let messages =
            |range: std::ops::Range<usize>| Content::Messages(chat.messages()[range].to_vec());
        let row = Row::Completion { prompt: messages(0..3), completion: messages(3..4) };
        assert_eq!(builder.of(&row).unwrap(), last, "{name}");
    }
}

#[test]
fn a_stop_token_within_the_vocabulary_ends_the_range_before_a_line_break() {
    let tokenizer = tokenizer("bytes");
    let template = template("phi", &tokenizer);
    // `<|end|>` is not among the stop tokens, the `<|im_end|>` at the end of all is.
    let builder = ExampleBuilder::new(&tokenizer, 1000).template(&template);
    let chat = Chat::of([("user", "q"), ("assistant", "a")]);
    let examples = make(&builder, vec![Row::Chat(chat)]).unwrap();
    assert_eq!(trained(&tokenizer, &examples.all()[0]), ["a<|end|>\n<|im_end|>"]);
    assert_eq!(examples.counts().unstopped, 0);
    let gemma = self::template("gemma", &tokenizer);
    let builder = ExampleBuilder::new(&tokenizer, 1000).template(&gemma);
    let chat = Chat::of([("user", "q"), ("assistant", "a")]);
    let examples = make(&builder, vec![Row::Chat(chat)]).unwrap();
    assert_eq!(trained(&tokenizer, &examples.all()[0]), ["a<end_of_turn>\n"]);
    assert_eq!(examples.counts().unstopped, 1);
}

#[test]
fn a_template_that_renders_earlier_answers_in_another_way_is_refused_with_the_difference() {
    let tokenizer = tokenizer("bytes");
    for (name, thinking, expected) in
        [("qwen3", true, "up to it: `"), ("deepseek", false, "the whole: `")]
    {
        let template = template(name, &tokenizer);
        let builder = ExampleBuilder::new(&tokenizer, 1000).template(&template);
        let think = |answer: &str| {
            if thinking { format!("<think>\nso\n</think>\n\n{answer}") } else { answer.to_owned() }
        };
        let (one, two) = (think("1"), think("2"));
        let chat =
            Chat::of([("user", "a"), ("assistant", &one), ("user", "b"), ("assistant", &two)]);
        let row = Row::Chat(chat);
        let refused = make(&builder, vec![row.clone()]).err().unwrap().to_string();
        assert!(refused.starts_with("data `memory row 1`: chat template `"), "{refused}");
        assert!(refused.contains("the answer in message 2"), "{refused}");
        assert!(refused.contains(expected) && refused.contains("hint: "), "{refused}");
        let last = builder.turns(Turns::Last).of(&row);
        if thinking {
            assert_eq!(
                trained(&tokenizer, &last.unwrap()[0]),
                ["<think>\nso\n</think>\n\n2<|im_end|>"]
            );
        } else {
            assert!(last.is_err()); // its generation prompt begins a thought that an answer does not have
        }
    }
}

#[test]
fn each_token_of_a_long_text_is_trained_once() {
    for name in ["bytes", "pieces"] {
        let tokenizer = tokenizer(name);
        let text = "To be, or not to be, that is the question. ".repeat(9);
        let whole =
            &ExampleBuilder::new(&tokenizer, 10_000).of(&Row::Text(text.clone())).unwrap()[0];
        for context in [1, 2, 7, 50] {
            let parts =
                ExampleBuilder::new(&tokenizer, context).of(&Row::Text(text.clone())).unwrap();
            assert!(parts.iter().all(|part| part.inputs().len() <= context));
            let targets: Vec<u32> = parts.iter().flat_map(Example::targets).collect();
            assert_eq!(targets, whole.targets());
        }
    }
}

#[test]
fn rows_that_lose_their_answer_are_counted_and_all_of_them_are_an_error() {
    let tokenizer = tokenizer("bytes");
    let long = "The capital of France is Paris. ".repeat(4);
    let rows = vec![
        pair("2 + 2?", " 4"),
        pair(&long, " 4"),
        pair("short", &long),
        pair("nothing", "  "),
        Row::Text(" \n".to_owned()),
    ];
    let builder = ExampleBuilder::new(&tokenizer, 16);
    let examples = make(&builder, rows.clone()).unwrap();
    let counts = examples.counts();
    assert_eq!(
        (counts.rows, counts.examples, counts.truncated, counts.cut_off, counts.empty),
        (5, 2, 2, 1, 2)
    );
    assert_eq!(examples.location(1), "memory row 3");
    assert_eq!(examples.tokens(1), 16);
    // Nothing is lost of an answer when the start of the prompt is.
    let kept = make(&builder.truncation(Truncation::Start), rows[..2].to_vec()).unwrap();
    assert_eq!((kept.counts().truncated, kept.counts().cut_off), (1, 0));
    assert_eq!(trained(&tokenizer, &kept.all()[1]), [" 4<|im_end|>"]);
    let longest = tokenizer.encode(&long).unwrap().len();
    let refused = make(&builder, rows[1..2].to_vec()).err().unwrap().to_string();
    assert!(
        refused.contains(
            "nothing left to train in 1 row: 1 with the whole answer beyond the limit of 16 tokens"
        ),
        "{refused}"
    );
    let whole = builder.truncation(Truncation::Start);
    let more = ExampleBuilder::new(&tokenizer, longest + 40).of(&rows[1]).unwrap()[0].ids().len();
    assert!(refused.contains(&format!("hint: the longest row has {more} tokens")), "{refused}");
    assert!(make(&whole, rows[1..2].to_vec()).is_ok());
    let refused = make(&builder, rows[3..].to_vec()).err().unwrap().to_string();
    assert!(refused.ends_with("nothing to train in 2 rows: 2 empty"), "{refused}");
    let chat = Row::Chat(Chat::of([("user", "q")]));
    let refused = make(&builder, vec![chat]).err().unwrap().to_string();
    assert!(refused.contains("conversations need a chat template"), "{refused}");
    let labelled = Row::Pair { anchor: String::new(), positive: String::new(), negative: None };
    assert!(make(&builder, vec![labelled]).is_err());
}

#[test]
fn instructions_are_conversations_where_there_is_a_template() {
    let tokenizer = tokenizer("bytes");
    let template = template("chatml", &tokenizer);
    let row = Row::Instruction {
        instruction: "Add.".to_owned(),
        input: "2 + 2".to_owned(),
        output: "4".to_owned(),
    };
    let builder = ExampleBuilder::new(&tokenizer, 200);
    let text = &builder.of(&row).unwrap()[0];
    assert_eq!(tokenizer.decode_all(text.ids()).unwrap(), "Add.\n\n2 + 2\n\n4<|im_end|>");
    assert_eq!(trained(&tokenizer, text), ["4<|im_end|>"]);
    let chat = &builder.template(&template).of(&row).unwrap()[0];
    let whole = tokenizer.decode_all(chat.ids()).unwrap();
    assert!(
        whole.contains(
            "<|im_start|>user\nAdd.\n\n2 + 2<|im_end|>\n<|im_start|>assistant\n4<|im_end|>"
        )
    );
    assert_eq!(trained(&tokenizer, chat), ["4<|im_end|>"]);
}

#[test]
fn tool_calls_are_trained_and_their_results_are_not() {
    let tokenizer = tokenizer("bytes");
    let template = template("qwen3", &tokenizer);
    let builder = ExampleBuilder::new(&tokenizer, 1000).template(&template);
    let call = json!({"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]});
    let chat = Chat::new(vec![
        json!({"role": "user", "content": "q"}),
        call,
        json!({"role": "tool", "content": "sunny"}),
        json!({"role": "assistant", "content": "It is sunny."}),
    ]);
    let example = &builder.turns(Turns::Last).of(&Row::Chat(chat)).unwrap()[0];
    let found = trained(&tokenizer, example);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("It is sunny.<|im_end|>"), "{found:?}");
}

#[test]
fn the_report_counts_duplicates_leaks_and_losses_and_marks_what_is_trained() {
    let tokenizer = tokenizer("bytes");
    let builder = ExampleBuilder::new(&tokenizer, 30);
    let long = "The capital of Italy is Rome. ".repeat(20);
    let rows = [
        ("2 + 2 =", " 4"),
        ("The capital of France is", " Paris."),
        ("2 + 2 =", " 4"),
        ("long", &long),
        ("", ""),
    ];
    let train =
        make(&builder, rows.map(|(prompt, completion)| pair(prompt, completion)).to_vec()).unwrap();
    let eval = make(&builder, vec![pair("new", "er"), pair("2 + 2 =", " 4")]).unwrap();
    let report = Report::new(&tokenizer, &train, Some(&eval)).unwrap();
    assert_eq!((report.train.duplicates, report.leaks), (1, 1));
    assert_eq!(report.train.longest[0], (30, "memory row 4".to_owned()));
    let tokens: usize = train.all().iter().map(|example| example.inputs().len()).sum();
    assert_eq!(report.train.tokens, tokens);
    let text = report.to_string();
    for line in [
        format!(
            "train: 4 examples of 5 rows, {tokens} tokens an epoch, {} of them trained",
            report.train.trained
        )
        .as_str(),
        "\n  1 truncated; the longest had ",
        "\n  1 not trained: empty\n  1 equal to an earlier one\n  longest: 30 tokens in memory row 4, ",
        "\neval: 2 examples of 2 rows, ",
        "\n  1 example of train too, the first in memory row 2\n",
        "\nexample 1, trained between \u{27e6} and \u{27e7}: 2 + 2 =\u{27e6} 4<|im_end|>\u{27e7}",
        "\nexample 2, trained between \u{27e6} and \u{27e7}: The capital of France is\u{27e6} Paris.<|im_end|>\u{27e7}",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let chat = Chat::new(vec![
        json!({"role": "user", "content": Value::String("x".repeat(999))}),
        json!({"role": "assistant", "content": "y\u{1b}[2J\n"}),
    ]);
    let template = template("chatml", &tokenizer);
    let examples =
        make(&ExampleBuilder::new(&tokenizer, 5000).template(&template), vec![Row::Chat(chat)])
            .unwrap();
    let text = Report::new(&tokenizer, &examples, None).unwrap().to_string();
    assert!(
        text.lines().all(|line| line.chars().count() < 600) && text.contains(" characters ... "),
        "{text}"
    );
    assert!(text.contains("\u{27e6}y\\u{1b}[2J\\n<|im_end|>\u{27e7}"), "{text}");
}

#[test]
fn digests_depend_on_tokens_and_on_which_are_trained() {
    let bytes = tokenizer("bytes");
    let digest =
        |row: Row| make(&ExampleBuilder::new(&bytes, 50), vec![row]).unwrap().digest().unwrap();
    let rows = [pair("ab", "c"), pair("a", "bc"), pair("ab", "d"), Row::Text("a".to_owned())];
    let digests: BTreeSet<String> = rows.into_iter().map(digest).collect();
    assert_eq!(digests.len(), 4);
    assert!(digests.iter().all(|digest| digest.len() == 64));
}

#[test]
fn all_tokens_but_the_first_are_trained_on_request() {
    let tokenizer = tokenizer("bytes");
    let template = template("chatml", &tokenizer);
    let builder = ExampleBuilder::new(&tokenizer, 100).template(&template);
    let chat = Chat::of([("user", "2 + 2?"), ("assistant", "4"), ("user", "Sure?")]);
    for row in [pair("The capital of France is", " Paris."), Row::Chat(chat)] {
        let some = builder.of(&row).unwrap().remove(0);
        let all = builder.train_all(true).of(&row).unwrap().remove(0);
        assert_eq!(all.ids(), some.ids());
        assert_eq!(all.targets(), all.ids()[1..]);
        assert!(some.trained_tokens() < all.trained_tokens());
    }
}

/// The text is longer than the pieces that it is encoded in.
#[test]
fn a_plain_text_is_trained_once_from_its_first_token_to_its_end() {
    let tokenizer = tokenizer("bytes");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("book.txt");
    let text = "The answer of a line, and the next.\n".repeat(4000);
    assert!(text.len() > 2 << 16);
    std::fs::write(&file, &text).unwrap();
    let builder = ExampleBuilder::new(&tokenizer, 50);
    let examples = builder.text_file(&file, &CancelToken::new()).unwrap();
    let trained = examples.iter().flat_map(Example::targets).collect::<Vec<u32>>();
    let [ids @ .., end] = &trained[..] else { panic!("there are tokens") };
    assert_eq!(Some(*end), tokenizer.special().eos);
    let first = examples[0].ids()[0];
    assert_eq!(tokenizer.decode_all(&[&[first], ids].concat()).unwrap(), text);

    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = builder.text_file(&file, &cancel).unwrap_err();
    assert!(matches!(cancelled, cog_train::Error::Cancelled), "{cancelled}");
    let none = Examples::new(Rows::new(Vec::<Example>::new()).named("book.txt")).err().unwrap();
    assert_eq!(none.to_string(), "data `book.txt row 1`: there are no examples");
}
