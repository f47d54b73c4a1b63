//! A drawing 360 units wide, and the scales that put values on it.

use super::escaped;
use std::fmt::Write;

/// Width of every drawing.
pub const WIDTH: f64 = 360.0;

/// Where values of one range lie along one direction of a drawing.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    values: (f64, f64),
    places: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// Equal distances for equal differences.
    pub fn linear(values: (f64, f64), places: (f64, f64)) -> Scale {
        Scale { values, places, logarithmic: false }
    }

    /// Equal distances for equal ratios. Values must be positive.
    pub fn logarithmic(values: (f64, f64), places: (f64, f64)) -> Scale {
        Scale { values, places, logarithmic: true }
    }

    /// A value's place, at the end of the scale if it lies outside.
    pub fn place(self, value: f64) -> f64 {
        let position = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let (from, until) = (position(self.values.0), position(self.values.1));
        let part = if until > from { (position(value) - from) / (until - from) } else { 0.0 };
        self.places.0 + part.clamp(0.0, 1.0) * (self.places.1 - self.places.0)
    }

    /// Round values to write at an axis.
    pub fn marks(self) -> Vec<f64> {
        let (from, until) = self.values;
        if self.logarithmic {
            let (first, last) = (from.log10().ceil() as i32, until.log10().floor() as i32);
            return (first..=last).map(|power| 10f64.powi(power)).collect();
        }
        let rough = (until - from) / 4.0;
        if rough.is_nan() || rough <= 0.0 {
            return vec![from];
        }
        let tenth = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * tenth).find(|step| *step >= rough);
        let step = step.unwrap_or(tenth * 10.0);
        let first = (from / step).ceil() as i64;
        (first..).map(|number| number as f64 * step).take_while(|mark| *mark <= until + step * 1e-9).collect()
    }
}

/// A drawing being made.
pub struct Drawing {
    height: f64,
    body: String,
}

impl Drawing {
    /// Empty, so high.
    pub fn new(height: f64) -> Drawing {
        Drawing { height, body: String::new() }
    }

    /// A bar.
    pub fn bar(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), opacity: f64) {
        let width = width.max(0.5);
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" stroke=\"none\" style=\"stroke:none\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\" opacity=\"{opacity}\"/>"
        );
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A line through points, with a dot on each.
    pub fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let list: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", list.join(" "));
        for &point in points {
            self.dot(class, point, 3.0, 1.0);
        }
    }

    /// A dot.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, opacity: f64) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" style=\"stroke:none\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" \
             opacity=\"{opacity}\"/>"
        );
    }

    /// Words; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        );
    }

    /// The finished figure, with a caption that also serves those who do not see it.
    pub fn figure(self, caption: &str) -> String {
        format!(
            "<figure><figcaption>{0}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {1}\" role=\"img\" aria-label=\"{0}\">\n\
             {2}</svg></figure>\n",
            escaped(caption),
            self.height,
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_find_their_places() {
        let linear = Scale::linear((0.0, 50.0), (100.0, 200.0));
        assert_eq!((linear.place(25.0), linear.place(-3.0), linear.place(99.0)), (150.0, 100.0, 200.0));
        let logarithmic = Scale::logarithmic((1.0, 10_000.0), (0.0, 4.0));
        assert!((logarithmic.place(100.0) - 2.0).abs() < 1e-9);
        assert_eq!(Scale::linear((1.0, 1.0), (5.0, 9.0)).place(1.0), 5.0);
    }

    #[test]
    fn marks_are_round() {
        assert_eq!(Scale::linear((0.0, 47.0), (0.0, 1.0)).marks(), [0.0, 20.0, 40.0]);
        assert_eq!(Scale::logarithmic((0.5, 2000.0), (0.0, 1.0)).marks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::linear((3.0, 3.0), (0.0, 1.0)).marks(), [3.0]);
    }
}
