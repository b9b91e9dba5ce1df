//! Formatted text, both ways, over one small tree.
//!
//! WhatsApp's marks are read by [`read`], HTML by [`html::read`]; [`show`] writes HTML and [`marks::write`] writes
//! marks. The tree's depth is bounded by its two readers, so walking it can not exhaust the stack, and both readers
//! take time in proportion to the text.

pub mod html;
mod lines;
pub mod marks;
pub mod names;
mod show;

pub use lines::read;
pub use show::show;

/// A way letters are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `*bold*`
    Bold,
    /// `_italic_`
    Italic,
    /// `~struck~`
    Strike,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bold, Self::Italic, Self::Strike];

    /// WhatsApp's sign for it.
    pub fn sign(self) -> char {
        match self {
            Self::Bold => '*',
            Self::Italic => '_',
            Self::Strike => '~',
        }
    }

    /// HTML's element for it.
    fn element(self) -> &'static str {
        match self {
            Self::Bold => "strong",
            Self::Italic => "em",
            Self::Strike => "del",
        }
    }
}

/// Something inside a line; a newline inside of [`Inline::Text`] is a line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// Letters.
    Text(String),
    /// Letters of equal width, shown as they are.
    Code(String),
    /// Marked content.
    Marked(Mark, Vec<Inline>),
    /// A person: their id on the side the text came from, and how the text calls them.
    Person {
        /// WhatsApp id or Matrix id.
        id: String,
        /// What is shown when nobody knows the id.
        label: String,
    },
}

/// A piece of text that stands on lines of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Lines of text.
    Lines(Vec<Inline>),
    /// Lines of equal width, shown as they are.
    Code(String),
    /// What somebody else said.
    Quote(Vec<Block>),
    /// A list; numbered from `start` when there is one.
    List {
        /// First number.
        start: Option<u32>,
        /// Its items.
        items: Vec<Vec<Block>>,
    },
}

/// Whether the tree is more than letters.
pub fn is_formatted(blocks: &[Block]) -> bool {
    !matches!(blocks, [] | [Block::Lines(_)])
        || blocks.iter().any(|block| match block {
            Block::Lines(inlines) => inlines.iter().any(|inline| !matches!(inline, Inline::Text(_))),
            _ => true,
        })
}

/// Everybody named in the tree, in order, each once.
pub fn people(blocks: &[Block]) -> Vec<&str> {
    let mut found = Vec::new();
    for block in blocks {
        people_of_block(block, &mut found);
    }
    found
}

fn people_of_block<'a>(block: &'a Block, found: &mut Vec<&'a str>) {
    match block {
        Block::Lines(inlines) => people_of_line(inlines, found),
        Block::Code(_) => {}
        Block::Quote(blocks) => blocks.iter().for_each(|block| people_of_block(block, found)),
        Block::List { items, .. } => items.iter().flatten().for_each(|block| people_of_block(block, found)),
    }
}

fn people_of_line<'a>(inlines: &'a [Inline], found: &mut Vec<&'a str>) {
    for inline in inlines {
        match inline {
            Inline::Person { id, .. } if !found.contains(&id.as_str()) => found.push(id),
            Inline::Marked(_, inner) => people_of_line(inner, found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
