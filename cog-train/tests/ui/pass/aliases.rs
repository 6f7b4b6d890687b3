//! Types that the macros cannot see through: traits and constant checks decide.

use cog_train::prelude::*;
use cog_train::serde_json::{Map, Value};

type Rate = f32;
type Maybe<T> = Option<T>;
type Many<T> = Vec<T>;
type Count = Maybe<u8>;
type File = Path;

#[derive(Clone, Copy, Choice)]
enum Optimizer {
    AdamW,
}

use Optimizer::AdamW;
type Algorithm = Optimizer;

#[derive(TrainInputs)]
struct Inputs {
    #[input(default = 1e-3, ge = 0, le = 1.0)]
    rate: Rate,
    #[input(default = 255, ge = 0, le = 255)]
    count: Count,
    #[input(default = ["a"], min_length = 1, max_length = 3, regex = "a", choices = ["a", "b"])]
    many: Many<String>,
    #[input(default = [1, 2], choices = [1, 2])]
    maybe: Maybe<Many<i64>>,
    file: File,
    #[input(default = AdamW)]
    algorithm: Algorithm,
    #[input(default = [Optimizer::AdamW])]
    algorithms: Maybe<Vec<Algorithm>>,
    map: Map<String, Value>,
    #[input(default = ["anything"])]
    value: Value,
}

macro_rules! declare {
    ($name:ident, $ty:ty, $default:expr, $least:literal) => {
        #[derive(TrainInputs)]
        struct $name {
            #[input(default = $default, ge = $least)]
            value: $ty,
        }
    };
}

declare!(Declared, u32, 3, 1);

fn main() {
    let optional: Vec<&str> = <Inputs as TrainInputs>::TABLE
        .iter()
        .filter(|spec| spec.ty.optional)
        .map(|spec| spec.name)
        .collect();
    assert_eq!(optional, ["count", "maybe", "algorithms"]);
    assert!(<Declared as TrainInputs>::TABLE[0].default.is_some());
    let _ = |inputs: Inputs, declared: Declared| {
        (
            inputs.rate,
            inputs.count,
            inputs.many,
            inputs.maybe,
            inputs.file,
            inputs.algorithm,
            inputs.algorithms,
        );
        (inputs.map, inputs.value, declared.value)
    };
}
