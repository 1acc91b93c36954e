//! What is known beforehand: cascades, quiet stretches, and bursts that were none.
//!
//! CSV with a header; columns are found by name, so a file may hold more than is read here:
//! `dataset,start_ms,end_ms` always, `peak_ms` and `kind` where there are any. A stretch belongs to the
//! recording whose folder has the name in `dataset`.

use std::path::Path;

/// A stretch of recorded time about which something is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The recording it is part of.
    pub dataset: String,
    /// First moment, ms.
    pub start: i64,
    /// Start of the minute with most money, where said; ms.
    pub peak: Option<i64>,
    /// Last moment, ms.
    pub end: i64,
    /// `fast`, `slow`, `none`...; empty where not said.
    pub kind: String,
}

/// Reads the stretches of a file.
///
/// # Errors
/// One line: the file, the line in it, and what is wrong.
pub fn read(path: &Path) -> Result<Vec<Stretch>, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    parse(&text).map_err(|(line, wrong)| format!("{shown}, line {line}: {wrong}"))
}

fn parse(text: &str) -> Result<Vec<Stretch>, (usize, String)> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let header: Vec<&str> =
        lines.next().map(|(_, line)| line.split(',').collect()).unwrap_or_default();
    let place = |name: &str| header.iter().position(|column| *column == name);
    let must = |name: &str| place(name).ok_or_else(|| (1, format!("no column `{name}`")));
    let (dataset, start, end) = (must("dataset")?, must("start_ms")?, must("end_ms")?);
    let (peak, kind) = (place("peak_ms"), place("kind"));
    let mut all = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        let time = |i: usize| {
            let ms = field(i).parse().ok().filter(|ms| (1..1_i64 << 43).contains(ms));
            ms.ok_or_else(|| (number, format!("{:?} is no time in ms", field(i))))
        };
        let stretch = Stretch {
            dataset: field(dataset).to_owned(),
            start: time(start)?,
            peak: peak.map(time).transpose()?,
            end: time(end)?,
            kind: kind.map(field).unwrap_or_default().to_owned(),
        };
        if stretch.end < stretch.start {
            return Err((number, "ends before it starts".to_owned()));
        }
        all.push(stretch);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "kind,dataset,x,start_ms,end_ms,peak_ms\nfast,a,7,1000,3000,2000\n";
        let expected = Stretch {
            dataset: "a".into(),
            start: 1_000,
            peak: Some(2_000),
            end: 3_000,
            kind: "fast".into(),
        };
        assert_eq!(parse(text), Ok(vec![expected]));
        let quiet = parse("dataset,start_ms,end_ms\na,1,2\n").unwrap();
        assert_eq!((quiet[0].peak, quiet[0].kind.as_str()), (None, ""));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(parse("dataset,start_ms\n"), Err((1, "no column `end_ms`".into())));
        let bad =
            |row: &str| parse(&format!("dataset,start_ms,end_ms\na,1,2\n{row}\n")).unwrap_err();
        assert_eq!(bad("a,x,2"), (3, "\"x\" is no time in ms".into()));
        assert_eq!(bad("a,1"), (3, "\"\" is no time in ms".into()));
        assert_eq!(bad("a,2,1"), (3, "ends before it starts".into()));
    }
}
