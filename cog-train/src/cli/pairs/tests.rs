use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::input::{InputType, Literal, Number, Path, Problems, Secret, Type};

const CHOICE: Type = Type { kind: Kind::Choice(&["adam", "sgd"]), list: false, optional: false };

const TABLE: &[Spec] = &[
    Spec::new("text", <Option<String>>::TYPE),
    Spec::new("int", <Option<i64>>::TYPE),
    Spec::new("big", <Option<u64>>::TYPE),
    Spec::new("float", <Option<f64>>::TYPE),
    Spec::new("flag", <Option<bool>>::TYPE),
    Spec::new("file", <Option<Path>>::TYPE),
    Spec::new("token", <Option<Secret>>::TYPE).max_length(5),
    Spec::new("map", <Option<Map<String, Value>>>::TYPE),
    Spec::new("any", <Option<Value> as InputType>::TYPE),
    Spec::new("optimizer", CHOICE).default(Literal::Str("adam")),
    Spec::new("tags", <Vec<String>>::TYPE).default(Literal::List(&[])),
    Spec::new("ids", <Option<Vec<u8>>>::TYPE).le(Number::Int(9)),
    Spec::new("docs", <Vec<Path>>::TYPE).default(Literal::List(&[])),
];

/// The given values after checking, or the report without its headline.
fn given(pairs: &[&str]) -> Result<Value, String> {
    let given = from_pairs(TABLE, pairs);
    let mut values = given.values.clone();
    values.sort_keys();
    let report = |problems: Problems| {
        let text = problems.to_string();
        text.lines().skip(1).map(str::trim).collect::<Vec<_>>().join(" | ")
    };
    given.check(TABLE).map_err(report).map(|_| Value::Object(values))
}

#[test]
fn values_are_read_by_type() {
    for (pairs, expected) in [
        (&["text=3"][..], json!({"text": "3"})),
        (&["text="], json!({"text": ""})),
        (&["text= a "], json!({"text": " a "})),
        (&["text=a=b"], json!({"text": "a=b"})),
        (&["text=\"a\""], json!({"text": "a"})),
        (&["text=\"\"a\"\""], json!({"text": "\"a\""})),
        (&["text=\"\""], json!({"text": ""})),
        (&["text=\""], json!({"text": "\""})),
        (&["text=\"a"], json!({"text": "\"a"})),
        (&["text=\"@@a\""], json!({"text": "@a"})),
        (&["text=\"\"@a\"\""], json!({"text": "\"@a\""})),
        (&["text=a\"b\""], json!({"text": "a\"b\""})),
        (&["int=\"3\""], json!({"int": 3})),
        (&["flag=\"true\""], json!({"flag": true})),
        (&["file=\"a b\""], json!({"file": "a b"})),
        (&["optimizer=\"sgd\""], json!({"optimizer": "sgd"})),
        (&["map=\"{\"a\": 1}\""], json!({"map": {"a": 1}})),
        (&["any=\"1\""], json!({"any": "1"})),
        (&["tags=\"a\""], json!({"tags": ["a"]})),
        (&["tags=\"[\"a\", \"b\"]\""], json!({"tags": ["a", "b"]})),
        (&["tags=\"a\"", "tags=\"\"b\"\""], json!({"tags": ["a", "\"b\""]})),
        (&["docs=\"a\""], json!({"docs": ["a"]})),
        (&["text=null"], json!({"text": "null"})),
        (&["text=@@a"], json!({"text": "@a"})),
        (&["text=@@@a"], json!({"text": "@@a"})),
        (&["text=a@b"], json!({"text": "a@b"})),
        (&["text=[1]"], json!({"text": "[1]"})),
        (&["int=3"], json!({"int": 3})),
        (&["int=+3"], json!({"int": 3})),
        (&["int=007"], json!({"int": 7})),
        (&["int=-9223372036854775808"], json!({"int": i64::MIN})),
        (&["int=3.0"], json!({"int": 3.0})),
        (&["int=1e3"], json!({"int": 1000.0})),
        (&["int=null"], json!({"int": null})),
        (&["big=18446744073709551615"], json!({"big": u64::MAX})),
        (&["float=3"], json!({"float": 3})),
        (&["float=0.123456789012"], json!({"float": 0.123_456_789_012})),
        (&["float=-1e-4"], json!({"float": -1e-4})),
        (&["flag=true", "text=true"], json!({"flag": true, "text": "true"})),
        (&["flag=false"], json!({"flag": false})),
        (&["file=a/b.txt"], json!({"file": "a/b.txt"})),
        (&["file=https://a/b?c=d"], json!({"file": "https://a/b?c=d"})),
        (&["file=~/a"], json!({"file": "~/a"})),
        (&["file=@@a"], json!({"file": "@a"})),
        (&["token=hf_=1"], json!({"token": "hf_=1"})),
        (&["map={\"a\": [1, null]}"], json!({"map": {"a": [1, null]}})),
        (&["any=\"a\""], json!({"any": "a"})),
        (&["any=[1]"], json!({"any": [1]})),
        (&["any=null"], json!({"any": null})),
        (&["optimizer=sgd"], json!({"optimizer": "sgd"})),
        (&["tags=a"], json!({"tags": ["a"]})),
        (&["tags=1,2"], json!({"tags": ["1,2"]})),
        (&["tags="], json!({"tags": [""]})),
        (
            &["tags=a", "int=1", "tags=[b]", "tags=@@c"],
            json!({"int": 1, "tags": ["a", "[b]", "@c"]}),
        ),
        (&["tags=[\"a\", \"@b\"]"], json!({"tags": ["a", "@b"]})),
        (&["tags=[]"], json!({"tags": []})),
        (&["tags=null"], json!({"tags": ["null"]})),
        (&["ids=1", "ids=2"], json!({"ids": [1, 2]})),
        (&["ids= [1, 2]"], json!({"ids": [1, 2]})),
        (&["ids=7"], json!({"ids": [7]})),
        (&["ids=null"], json!({"ids": null})),
        (&["docs=a", "docs=https://b"], json!({"docs": ["a", "https://b"]})),
    ] {
        assert_eq!(given(pairs), Ok(expected), "{pairs:?}");
    }
}

#[test]
fn one_sentence_for_each_mistake() {
    for (pairs, expected) in [
        (&["int=3x"][..], r#"`int`: "3x" is not of type "integer""#),
        (&["int="], r#"`int`: "" is not of type "integer""#),
        (&["int=\"\"3\"\""], r#"`int`: "\"3\"" is not of type "integer""#),
        (&["int= 3"], r#"`int`: " 3" is not of type "integer""#),
        (&["int=1.5"], r#"`int`: 1.5 is not of type "integer""#),
        (
            &["int=9223372036854775808"],
            "`int`: 9223372036854775808 is greater than the maximum of 9223372036854775807",
        ),
        (&["big=-1"], "`big`: -1 is less than the minimum of 0"),
        (&["float=NaN"], r#"`float`: "NaN" is not of type "number""#),
        (&["float=inf"], r#"`float`: "inf" is not of type "number""#),
        (&["float=-1e999"], r#"`float`: "-1e999" is not of type "number""#),
        (&["flag=True"], r#"`flag`: "True" is not of type "boolean""#),
        (&["flag=1"], r#"`flag`: "1" is not of type "boolean""#),
        (&["file="], "`file`: the path is empty"),
        (&["file=\"\""], "`file`: the path is empty"),
        (&["optimizer=null"], r#"`optimizer`: "null" is not one of ["adam","sgd"]"#),
        (&["map=[1]"], r#"`map`: [1] is not of type "object""#),
        (
            &["map={"],
            "`map`: the text is not JSON: EOF while parsing an object at line 1 column 1 | hint: write a JSON object: `{\"name\": 1}`",
        ),
        (
            &["any=a"],
            "`any`: the text is not JSON: expected value at line 1 column 1 | hint: write JSON; a text stands in double quotes",
        ),
        (
            &["tags=[a,b]"],
            "`tags`: the text is not JSON: expected value at line 1 column 2 | hint: write `tags=[\"a\", \"b\"]`, or repeat `tags=ITEM`",
        ),
        (&["ids=[1,300]"], "`ids/1`: 300 is greater than the maximum of 9"),
        (&["ids=1", "ids=[2]"], r#"`ids/1`: "[2]" is not of type "integer""#),
        (&["ids=1", "ids=null"], r#"`ids/1`: "null" is not of type "integer""#),
        (&["int=1", "int=1"], "`int`: given 2 times, and it is not a list"),
        (&["text"], "`text`: no value | hint: write `-i text=VALUE`"),
        (&["hunter2"], "`-i`: found no `=` | hint: write `-i NAME=VALUE`"),
        (&["=hunter2"], "`-i`: the name before `=` is empty | hint: write `-i NAME=VALUE`"),
        (&["txt=a"], "`txt`: no such input | hint: did you mean `text`?"),
        (&["file=@"], "`file`: `@` names no file | hint: write `@FILE`; `@@` is a literal `@`"),
        (&["file=@no/such"], "`file`: cannot read `no/such`: no such file or directory"),
        (
            &["file=@https://a/b"],
            "`file`: cannot read `https://a/b`: no such file or directory | hint: an address is written without the `@`",
        ),
        (&["text=@/"], "`text`: `/` is a folder"),
        (&["file=@/"], "`file`: `/` is a folder | hint: for the folder itself, leave out the `@`"),
    ] {
        assert_eq!(given(pairs), Err(expected.to_owned()), "{pairs:?}");
    }
}

#[test]
fn all_problems_at_once_and_each_once() {
    const STRICT: &[Spec] = &[
        Spec::new("train_data", Path::TYPE),
        Spec::new("epochs", u32::TYPE).default(Literal::Int(3)).le(Number::Int(10)),
        Spec::new("seed", u64::TYPE),
    ];
    let pairs = ["epochs=300", "learning_rte=1", "train_data=@no/such"];
    let report = from_pairs(STRICT, &pairs).check(STRICT).unwrap_err().to_string();
    assert_eq!(
        report,
        "4 inputs are not valid\n  `epochs`: 300 is greater than the maximum of 10\n  `learning_rte`: no such input\n  hint: the inputs are `train_data`, `epochs`, `seed`\n  `train_data`: cannot read `no/such`: no such file or directory\n  `seed`: Field required"
    );
}

#[test]
fn files_are_read_by_type() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = write("one.txt", b"a\r\nb\r\n");
    let two = write("two.txt", b"@x\n\n");
    let number = write("number", b" 3\n");
    let list = write("list.json", b"[\"a\",\n\"b\"]\n");
    let map = write("map.json", b"{\"a\": 1}\n");
    let token = write("token", b"hf_\n");
    let bytes = write("bytes", b"ab\xff");
    let quoted = write("quoted", b"\"a\"\n");
    let pair = |name: &str, file: &str| given(&[&format!("{name}=@{file}")]);

    assert_eq!(pair("text", &one), Ok(json!({"text": "a\r\nb"})), "one final newline goes");
    assert_eq!(
        pair("text", &two),
        Ok(json!({"text": "@x\n"})),
        "what a file says is not read again"
    );
    assert_eq!(given(&[&format!("file=\"@{one}\"")]), Ok(json!({"file": one})));
    assert_eq!(pair("text", &quoted), Ok(json!({"text": "\"a\""})), "quotes in a file stay");
    assert_eq!(pair("int", &number), Ok(json!({"int": 3})));
    assert_eq!(pair("tags", &list), Ok(json!({"tags": ["a", "b"]})));
    assert_eq!(pair("tags", &token), Ok(json!({"tags": ["hf_"]})));
    assert_eq!(pair("ids", &number), Ok(json!({"ids": [3]})));
    assert_eq!(pair("map", &map), Ok(json!({"map": {"a": 1}})));
    assert_eq!(pair("any", &list), Ok(json!({"any": ["a", "b"]})));
    assert_eq!(pair("token", &token), Ok(json!({"token": "hf_"})));
    assert_eq!(pair("file", &bytes), Ok(json!({"file": bytes})));
    assert_eq!(pair("docs", &bytes), Ok(json!({"docs": [bytes]})));
    let repeated = given(&[&format!("docs=@{one}"), "docs=b", &format!("docs=@{two}")]);
    assert_eq!(repeated, Ok(json!({"docs": [one, "b", two]})));
    let repeated = given(&[&format!("tags=@{token}"), &format!("tags=@{list}")]);
    assert_eq!(repeated, Ok(json!({"tags": ["hf_", "[\"a\",\n\"b\"]"]})));
    assert_eq!(
        pair("text", &bytes),
        Err(format!("`text`: `{bytes}` is not UTF-8 text: byte 2 does not belong to a character"))
    );

    let huge = dir.path().join("huge");
    std::fs::File::create(&huge).unwrap().set_len((64 << 20) + 1).unwrap();
    let huge = huge.to_str().unwrap();
    assert_eq!(
        pair("text", huge),
        Err(format!("`text`: cannot read `{huge}`: larger than the limit of 67108864 bytes"))
    );
    assert_eq!(pair("file", huge), Ok(json!({"file": huge})), "a `Path` is not read");
}

#[test]
fn secrets_are_in_no_message() {
    for pair in ["token=hunter2", "token=@hunter2", "token=@/hunter2/", "hunter2", "=hunter2"] {
        let read = from_pairs(TABLE, &[pair]);
        assert!(!format!("{read:?}").contains("hunter2"), "{pair}: {read:?}");
        let report = read.check(TABLE).unwrap_err();
        assert!(!format!("{report} {report:?}").contains("hunter2"), "{pair}: {report}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hunter2").unwrap();
    let report =
        from_pairs(TABLE, &[format!("token=@{}", file.display())]).check(TABLE).unwrap_err();
    assert!(
        report.to_string().contains("`token`: ********** is longer than 5 characters"),
        "{report}"
    );
    assert!(!format!("{report:?}").contains("hunter2"), "{report}");
}

#[test]
fn json_gives_all_inputs_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let all = dir.path().join("all.json");
    std::fs::write(&data, b"\xff").unwrap();
    let text = json!({
        "file": format!("@{}", data.display()), "text": "@x", "docs": ["@a"], "big": u64::MAX, "int": null,
    });
    std::fs::write(&all, text.to_string()).unwrap();
    let expected = json!({"file": data.to_str().unwrap(), "text": "@x", "docs": ["@a"], "big": u64::MAX, "int": null});
    let at = format!("@{}", all.display());
    for (argument, stdin) in [(text.to_string(), ""), (at, ""), ("-".into(), &*text.to_string())] {
        let given = from_json(TABLE, &argument, stdin.as_bytes()).unwrap();
        assert_eq!(Value::Object(given.values.clone()), expected, "{argument}");
        given.check(TABLE).unwrap();
    }
    let given = from_json(TABLE, r#"{"file": "@@a"}"#, &b""[..]).unwrap();
    assert_eq!(given.get("file"), Some(&json!("@a")));
    let given = from_json(TABLE, r#"{"file": "@no/such", "int": "3"}"#, &b""[..]).unwrap();
    assert_eq!(
        given.check(TABLE).unwrap_err().to_string(),
        "2 inputs are not valid\n  `file`: cannot read `no/such`: no such file or directory\n  `int`: \"3\" is not of type \"integer\""
    );
}

#[test]
fn json_that_is_not_an_object() {
    for (argument, stdin, expected) in [
        (
            "[1]",
            "",
            "`--json` is not a JSON object\nhint: write all inputs as one object: `{\"epochs\": 3}`",
        ),
        (
            "{\"a\":1,\"a\":2}",
            "",
            "`--json`: the text is not JSON: the key `a` is there twice at line 1 column 10",
        ),
        ("{", "", "`--json`: the text is not JSON: EOF while parsing an object at line 1 column 1"),
        ("-", "", "`--json`: the text is not JSON: EOF while parsing a value at line 1 column 0"),
        ("-", "{} x", "`--json`: the text is not JSON: trailing characters at line 1 column 4"),
        ("@no/such", "", "`--json`: cannot read `no/such`: no such file or directory"),
    ] {
        let error = from_json(TABLE, argument, stdin.as_bytes()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn values_of_a_previous_run_fill_missing_inputs() {
    let earlier = json!({"int": 1, "float": 0.5, "file": "a", "gone": 1});
    let mut given = from_pairs(TABLE, &["int=2", "float=null", "file=@no/such"]);
    given.fill(earlier.as_object().unwrap().clone());
    assert_eq!(given.get("int"), Some(&json!(2)));
    assert_eq!(given.get("float"), Some(&Value::Null), "an explicit null was given");
    let report = given.check(TABLE).unwrap_err().to_string();
    assert!(report.contains("`gone`: no such input"), "{report}");
    assert!(report.contains("`file`: cannot read `no/such`"), "{report}");
}

/// A value that fits the type, over its whole range.
fn fitting(ty: Type) -> BoxedStrategy<Value> {
    let item = match ty.kind {
        Kind::String | Kind::Secret => {
            "(@|\\[|null|\"|\"|\\PC|\n| ){0,6}".prop_map(Value::from).boxed()
        }
        Kind::Path => "(@|\\[|\"|~/|\\PC){1,6}".prop_map(Value::from).boxed(),
        Kind::Choice(names) => prop::sample::select(names).prop_map(Value::from).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Integer { min, max } => prop_oneof![
            (min..=max).prop_map(|n| Number::Int(n).to_json()),
            (0..=100_i32).prop_map(|n| Value::from(f64::from(n))),
        ]
        .boxed(),
        Kind::Float => prop_oneof![
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::from(-0.0)),
        ]
        .boxed(),
        Kind::Object => proptest::collection::btree_map("\\PC{0,3}", any::<i64>(), 0..3)
            .prop_map(|map| json!(map))
            .boxed(),
        Kind::Any => prop_oneof![
            Just(json!({"a": [null]})),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            "(@|\\[|\"|null|\\PC){0,4}".prop_map(Value::from),
        ]
        .boxed(),
    };
    let value = if ty.list {
        proptest::collection::vec(item, 0..4).prop_map(Value::from).boxed()
    } else {
        item
    };
    if ty.optional && (ty.list || !is_text(ty.kind)) {
        prop_oneof![1 => Just(Value::Null), 5 => value].boxed()
    } else {
        value
    }
}

fn any_type() -> impl Strategy<Value = Type> {
    let kinds = vec![
        Kind::String,
        Kind::Secret,
        Kind::Path,
        Kind::Choice(&["null", "@a", "[b]", "\"c\""]),
        Kind::Boolean,
        <i8 as InputType>::TYPE.kind,
        <i64 as InputType>::TYPE.kind,
        <u64 as InputType>::TYPE.kind,
        Kind::Float,
        Kind::Object,
        Kind::Any,
    ];
    (prop::sample::select(kinds), any::<bool>(), any::<bool>())
        .prop_map(|(kind, list, optional)| Type { kind, list, optional })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printed_values_are_read_back(
        (ty, value) in any_type().prop_flat_map(|ty| (Just(ty), fitting(ty)))
    ) {
        let table = [Spec::new("x", ty)];
        let pair = format!("x={}", print(&table[0], &value));
        let given = from_pairs(&table, &[&pair]);
        prop_assert_eq!(given.get("x"), Some(&value), "{}", pair);
        let values = given.check(&table).unwrap();
        prop_assert_eq!(values.get("x"), Some(&value));
    }

    #[test]
    fn nothing_panics(pairs in proptest::collection::vec("(text|int|ids|map|any|tags|token|x)?=?(@@|[^@]){0,8}", 0..4)) {
        let _ = from_pairs(TABLE, &pairs).check(TABLE);
    }
}
