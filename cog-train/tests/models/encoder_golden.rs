//! Results of transformers for encoders and heads. `tests/python/encoders.py` makes the fixtures.

use cog_train::candle_core::{Device, Tensor};
use cog_train::models::{Targets, Tokens};
use serde::Deserialize;
use serde_json::Value;

use crate::support::folder;

/// Results of transformers.
#[derive(Deserialize)]
pub(crate) struct Golden {
    #[serde(default)]
    pub(crate) ids: Vec<Vec<u32>>,
    #[serde(default)]
    pub(crate) lengths: Vec<usize>,
    #[serde(default)]
    pub(crate) pixels: Vec<Vec<Vec<Vec<f32>>>>,
    pub(crate) types: Option<Vec<Vec<u32>>>,
    #[serde(default)]
    pub(crate) labels: Value,
    pub(crate) hidden: Vec<Vec<Vec<f32>>>,
    #[serde(default)]
    pub(crate) logits: Value,
    #[serde(default)]
    pub(crate) losses: Vec<f64>,
    #[serde(default)]
    pub(crate) without_gradient: Vec<String>,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(folder(name).join("golden.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        let rows = self.ids.iter().zip(&self.lengths);
        let rows: Vec<_> = rows.map(|(ids, length)| ids[..*length].to_vec()).collect();
        let tokens = Tokens::padded(&rows, 1, &Device::Cpu).unwrap();
        let Some(types) = &self.types else { return tokens };
        tokens.token_types(Tensor::new(types.clone(), &Device::Cpu).unwrap()).unwrap()
    }

    pub(crate) fn images(&self) -> Tensor {
        let images = self.pixels.iter().map(|image| Tensor::new(image.clone(), &Device::Cpu));
        Tensor::stack(&images.collect::<Result<Vec<_>, _>>().unwrap(), 0).unwrap()
    }

    /// The labels of tokens, -100 where there is none.
    pub(crate) fn rows(&self) -> Vec<Vec<u32>> {
        let rows: Vec<Vec<i64>> = serde_json::from_value(self.labels.clone()).unwrap();
        let label = |label: &i64| u32::try_from(*label).unwrap_or(Targets::IGNORED);
        rows.iter().map(|row| row.iter().map(label).collect()).collect()
    }

    /// The labels of texts.
    pub(crate) fn labels(&self) -> Tensor {
        let device = Device::Cpu;
        if let Ok(ids) = serde_json::from_value::<Vec<u32>>(self.labels.clone()) {
            return Tensor::new(ids, &device).unwrap();
        }
        if let Ok(numbers) = serde_json::from_value::<Vec<f32>>(self.labels.clone()) {
            return Tensor::new(numbers, &device).unwrap();
        }
        let rows: Vec<Vec<f32>> = serde_json::from_value(self.labels.clone()).unwrap();
        Tensor::new(rows, &device).unwrap()
    }

    /// The greatest distance of results of texts, or of the tokens of texts.
    pub(crate) fn distance(&self, found: &Tensor) -> f32 {
        if let Ok(expected) = serde_json::from_value::<Vec<Vec<Vec<f32>>>>(self.logits.clone()) {
            return self.distance_of_tokens(&expected, found);
        }
        let expected: Vec<Vec<f32>> = serde_json::from_value(self.logits.clone()).unwrap();
        greatest(expected.iter().flatten(), found.to_vec2::<f32>().unwrap().iter().flatten())
    }

    pub(crate) fn distance_of_tokens(&self, expected: &[Vec<Vec<f32>>], found: &Tensor) -> f32 {
        let found = found.to_vec3::<f32>().unwrap();
        let rows = expected.iter().zip(&found).zip(&self.lengths);
        let apart = rows.map(|((expected, found), length)| {
            greatest(expected[..*length].iter().flatten(), found[..*length].iter().flatten())
        });
        apart.fold(0.0, f32::max)
    }
}

pub(crate) fn greatest<'a>(
    expected: impl Iterator<Item = &'a f32>,
    found: impl Iterator<Item = &'a f32>,
) -> f32 {
    let (expected, found): (Vec<_>, Vec<_>) = (expected.collect(), found.collect());
    assert_eq!(expected.len(), found.len());
    let pairs = expected.iter().zip(found);
    pairs.map(|(expected, found)| (**expected - found).abs()).fold(0.0, f32::max)
}
