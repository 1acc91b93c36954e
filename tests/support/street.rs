//! How the program is pointed at simulated venues.

use std::collections::BTreeMap;

use foreshock::event::Venue;
use foreshock::simulate::street::Street;

/// The `[feeds.venues.*]` of a configuration that finds `venues` in the street, and no other.
pub fn feeds(street: &Street, venues: &[Venue]) -> String {
    let mut urls: BTreeMap<Venue, Vec<String>> = BTreeMap::new();
    for (venue, route, url) in street.urls() {
        urls.entry(venue).or_default().push(format!("{route} = {url:?}"));
    }
    let table = |(venue, urls): (Venue, Vec<String>)| {
        let (name, rest, urls) = (venue.name(), street.rest(venue), urls.join(", "));
        match venues.contains(&venue) {
            true => format!("[feeds.venues.{name}]\nrest = {rest:?}\nurls = {{ {urls} }}\n"),
            false => format!("[feeds.venues.{name}]\nenabled = false\n"),
        }
    };
    urls.into_iter().map(table).collect()
}
