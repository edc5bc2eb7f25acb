//! The page's frame: language, session, navigation, and which page is shown.

use ballast_client::Client;
use leptos::mount::mount_to_body;
use leptos::prelude::*;
use leptos_router::components::{A, Route, Router, Routes};
use leptos_router::path;

use crate::components::{
    Badge, Button, Failure, Icon, Loading, Look, Symbol, Toaster, Toasts, Tone,
};
use crate::format;
use crate::i18n::{self, Language, texts};
use crate::live::{Link, Live};
use crate::pages::{HighAvailability, Nodes, Overview, Pool, Pools, SetUp, SignIn, VirtualServers};
use crate::session::{Session, Stage};

/// Where the browser keeps the language that was chosen.
const LANGUAGE_KEY: &str = "ballast.language";

/// Puts the console on the page.
pub(crate) fn start() {
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    mount_to_body(App);
}

#[component]
fn App() -> impl IntoView {
    provide_context(RwSignal::new(first_language()));
    provide_context(Toasts::new());
    let origin = window().location().origin().unwrap_or_default();
    let client = match Client::browser(&origin) {
        Ok(client) => client,
        Err(error) => return view! { <p>{error.chain()}</p> }.into_any(),
    };
    let session = Session::new(client);
    provide_context(session);
    session.resume();
    view! {
        <Router>
            {move || match session.stage() {
                Stage::SignedIn(_) => view! { <SignedIn /> }.into_any(),
                stage => {
                    view! {
                        <Localised>
                            <Front stage=stage.clone() />
                        </Localised>
                    }
                        .into_any()
                }
            }}
        </Router>
    }
    .into_any()
}

/// Draws its children anew whenever the language changes, and tells the browser which it is.
#[component]
fn Localised(children: ChildrenFn) -> impl IntoView {
    let language = expect_context::<RwSignal<Language>>();
    move || {
        let language = language.get();
        i18n::choose(language);
        if let Some(root) = document().document_element() {
            // Fails only for names that are no attribute's.
            let _ = root.set_attribute("lang", language.tag());
        }
        children()
    }
}

/// What is shown to somebody who is not signed in.
#[component]
fn Front(stage: Stage) -> impl IntoView {
    let t = texts();
    let session = Session::here();
    let content = match stage {
        Stage::SetUp => view! { <SetUp /> }.into_any(),
        Stage::SignedOut { expired } => view! { <SignIn expired /> }.into_any(),
        Stage::Unreachable(problem) => view! {
            <Failure title=t.not_reached problem />
            <Button look=Look::Primary text=t.try_again press=move || session.resume() />
        }
        .into_any(),
        Stage::Unknown | Stage::SignedIn(_) => view! { <Loading /> }.into_any(),
    };
    view! {
        <div class="front">
            <header class="front-head">
                <LanguageSwitch />
            </header>
            <main class="front-card">
                <div class="front-brand">
                    <Brand />
                    <span>"Ballast"</span>
                </div>
                {content}
            </main>
            <Toaster />
        </div>
    }
}

/// Starts to listen, and draws the console around the page.
#[component]
fn SignedIn() -> impl IntoView {
    provide_context(Live::start(Session::here()));
    view! {
        <Localised>
            <Shell />
        </Localised>
    }
}

#[component]
fn Shell() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let session = Session::here();
    let cluster = move || live.status.with(|s| s.as_ref().map(|s| s.cluster_name.clone()));
    let user = move || match session.stage() {
        Stage::SignedIn(info) => info.user,
        _ => String::new(),
    };
    view! {
        <a class="skip" href="#main">
            {t.skip_to_content}
        </a>
        <div class="shell">
            <header class="topbar">
                <A href="/" attr:class="brand" attr:aria-label="Ballast">
                    <Brand />
                    <span class="brand-name">"Ballast"</span>
                </A>
                <span class="cluster-name">{cluster}</span>
                <span class="spacer"></span>
                <LinkBadge />
                <LanguageSwitch />
                <span class="user" title=t.signed_in_as>
                    {user}
                </span>
                <Button
                    look=Look::Quiet
                    symbol=Symbol::SignOut
                    icon_only=true
                    text=t.sign_out
                    press=move || session.sign_out()
                />
            </header>
            <nav class="sidebar" aria-label=t.navigation>
                <NavLink href="/" symbol=Symbol::Overview text=t.overview exact=true />
                <NavLink
                    href="/virtual-servers"
                    symbol=Symbol::VirtualServers
                    text=t.virtual_servers
                />
                <NavLink href="/pools" symbol=Symbol::Pools text=t.pools />
                <NavLink href="/ha" symbol=Symbol::HighAvailability text=t.ha.title />
                <NavLink href="/nodes" symbol=Symbol::Nodes text=t.nodes />
            </nav>
            <main id="main" tabindex="-1">
                <StaleNotice />
                <Routes fallback=|| view! { <NotFound /> }>
                    <Route path=path!("/") view=Overview />
                    <Route path=path!("/virtual-servers") view=VirtualServers />
                    <Route path=path!("/pools") view=Pools />
                    <Route path=path!("/pools/:name") view=Pool />
                    <Route path=path!("/ha") view=HighAvailability />
                    <Route path=path!("/nodes") view=Nodes />
                </Routes>
            </main>
        </div>
        <Toaster />
    }
}

#[component]
fn NavLink(
    href: &'static str,
    symbol: Symbol,
    text: &'static str,
    #[prop(optional)] exact: bool,
) -> impl IntoView {
    view! {
        <A href exact=exact attr:title=text>
            <Icon symbol />
            <span>{text}</span>
        </A>
    }
}

/// The mark: a hull, level because of what it carries.
#[component]
fn Brand() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
            <path class="mark-hull" d="M3 15h26l-4.6 9.2A5 5 0 0 1 19.9 27h-7.8a5 5 0 0 1-4.5-2.8Z" />
            <path class="mark-load" d="M8 7h7v5H8ZM17 7h7v5h-7Z" />
        </svg>
    }
}

/// Whether what is shown is fresh.
#[component]
fn LinkBadge() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    let badge = move || {
        let (tone, symbol, text) = match live.link() {
            Link::Connecting => (Tone::Neutral, Symbol::Checking, t.connecting),
            Link::Live => (Tone::Good, Symbol::Up, t.live),
            Link::Polling => (Tone::Warning, Symbol::Partial, t.polling),
            Link::Lost => (Tone::Bad, Symbol::Down, t.no_contact),
        };
        view! { <Badge tone symbol text /> }
    };
    view! {
        <span class="link-state" role="status">
            {badge}
        </span>
    }
}

/// Says how old the page is when nothing new comes.
#[component]
fn StaleNotice() -> impl IntoView {
    let t = texts();
    let live = Live::here();
    move || {
        if live.link() != Link::Lost {
            return None;
        }
        let heard = live.heard_ms.get();
        let age = live.now_ms.get().saturating_sub(heard);
        let title =
            if heard == 0 { t.not_reached.to_owned() } else { (t.stale)(&format::span(t, age)) };
        let detail = live.problem.get().map(|problem| problem.detail).unwrap_or_default();
        Some(view! {
            <div class="notice warning" role="status">
                <Icon symbol=Symbol::Warning />
                <div>
                    <strong>{title}</strong>
                    <p>{detail}</p>
                </div>
            </div>
        })
    }
}

#[component]
fn LanguageSwitch() -> impl IntoView {
    let language = expect_context::<RwSignal<Language>>();
    let other = language.get_untracked().other();
    let press = move |_| {
        if let Ok(Some(storage)) = window().local_storage() {
            // Without storage the choice lasts as long as the page.
            let _ = storage.set_item(LANGUAGE_KEY, other.tag());
        }
        language.set(other);
    };
    view! {
        <button type="button" class="button quiet language" lang=other.tag() on:click=press>
            <Icon symbol=Symbol::Language />
            {other.name()}
        </button>
    }
}

#[component]
fn NotFound() -> impl IntoView {
    let t = texts();
    view! {
        <h1>{t.page_not_found}</h1>
        <p>
            <A href="/">{t.overview}</A>
        </p>
    }
}

/// The language that was chosen before, or the browser's.
fn first_language() -> Language {
    let chosen = window().local_storage().ok().flatten();
    let chosen = chosen.and_then(|storage| storage.get_item(LANGUAGE_KEY).ok().flatten());
    let preferred = chosen.or_else(|| window().navigator().language()).unwrap_or_default();
    let language = Language::of_tag(&preferred);
    i18n::choose(language);
    language
}
