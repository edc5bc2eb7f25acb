use super::*;

fn table() -> Table {
    let mut table = Table::new(&["NAME", "STATE", "REASON"]);
    table.row(vec!["web".into(), Field::toned("up", Tone::Good), "".into()]);
    table.row(vec![
        "a-long-name".into(),
        Field::toned("down", Tone::Bad),
        "connection refused \x1b[2J".into(),
    ]);
    table
}

#[test]
fn tables_are_plain_and_aligned() {
    assert_eq!(
        table().render(false),
        "NAME         STATE  REASON\n\
         web          up     -\n\
         a-long-name  down   connection refused \\u{1b}[2J"
    );
}

#[test]
fn colours_change_nothing_else() {
    let coloured = table().render(true);
    assert!(coloured.contains("\x1b[") && coloured.contains("\\u{1b}[2J"), "{coloured:?}");
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    let lines: Vec<_> = plain.lines().map(str::trim_end).collect();
    assert_eq!(lines.join("\n"), table().render(false));
}

#[test]
fn long_lines_are_not_wrapped() {
    let mut table = Table::new(&["REASON"]);
    table.row(vec!["word ".repeat(200).into()]);
    assert_eq!(table.render(false).lines().count(), 2);
}
