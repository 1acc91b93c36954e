//! The threads of runs that are alive, as the kernel shows them.

use super::host::{Cannot, Look};

/// Names of the threads that events pass through.
const HOT: [&str; 5] = ["reader", "engine", "publish", "reader+engine", "foreshock"];

/// One hot thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: u32,
    /// Its folder under /proc.
    folder: String,
    /// Its name.
    pub name: String,
}

impl Thread {
    /// The path of one of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// The hot threads of all runs; none when nothing runs.
#[must_use]
pub fn threads(look: &Look) -> Vec<Thread> {
    look.scene.runs.iter().flat_map(|&pid| of(look, pid)).collect()
}

fn of(look: &Look, pid: u32) -> Vec<Thread> {
    let named = look.each(&format!("/proc/{pid}/task/*/comm"));
    // The first thread has the program's name, and only attends.
    let first = format!("/proc/{pid}/task/{pid}/comm");
    let hot =
        named.into_iter().filter(|(path, name)| *path != first && HOT.contains(&name.as_str()));
    let thread = |(path, name): (String, String)| {
        let folder = path.trim_end_matches("/comm").to_owned();
        Thread { pid, folder, name }
    };
    hot.map(thread).collect()
}

/// The same for a check that needs one.
///
/// # Errors
/// When nothing runs, or its threads cannot be seen.
pub fn needed(look: &Look) -> Result<Vec<Thread>, Cannot> {
    if look.scene.runs.is_empty() {
        let folder = look.scene.config.run.status();
        look.note(&format!("{}/*.status.json", folder.display()));
        let why = "no `foreshock run` is alive: start one and ask again";
        return Err(Cannot::Apply(why.to_owned()));
    }
    let threads = threads(look);
    if threads.is_empty() {
        let pids: Vec<_> = look.scene.runs.iter().map(u32::to_string).collect();
        return Err(Cannot::Read(format!("/proc/{}/task: no hot thread seen", pids.join(","))));
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn hot_threads_are_known_by_their_names_and_the_first_is_none() {
        let fake = Fake::new().run(7).files(&[
            ("/proc/7/task/7/comm", "foreshock"),
            ("/proc/7/task/8/comm", "foreshock\n"),
            ("/proc/7/task/9/comm", "dial-0"),
            ("/proc/7/task/10/comm", "publish"),
        ]);
        let scene = fake.scene();
        let found = threads(&Look::at(&scene));
        let names: Vec<_> = found.iter().map(|t| (t.name.as_str(), t.file("stat"))).collect();
        let expected = [("foreshock", "/proc/7/task/8/stat"), ("publish", "/proc/7/task/10/stat")];
        assert_eq!(names, expected.map(|(name, file)| (name, file.to_owned())));
    }

    #[test]
    fn without_a_run_it_is_said_that_there_is_none() {
        let scene = Fake::new().scene();
        assert!(matches!(needed(&Look::at(&scene)), Err(Cannot::Apply(_))));
        let scene = Fake::new().run(7).scene();
        assert!(matches!(needed(&Look::at(&scene)), Err(Cannot::Read(_))));
    }
}
