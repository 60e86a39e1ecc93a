"""The admin page in a real browser: what a person sees there, and that the console says nothing."""

import play
from chromium import chromium

IS_SHOWN = "document.querySelector('main')?.hidden === false"


def says(selector, text):
    """A JavaScript expression: an element shows a text."""
    return f"(document.querySelector('{selector}')?.innerText ?? '').includes('{text}')"


async def watch(hub, edge, token, identity, shots=""):
    """The hub's page from before the first edge to traffic and its end, then the edge's. Says on
    its output how far it is, for whoever starts edge and traffic."""
    async with chromium() as page:
        await page.look(1280, 900)
        await page.open(f"http://127.0.0.1:{hub}/")
        await give_tokens(page, "wrong", token)
        await page.until(says("#tunnels-none", "No edge is connected"))
        await page.until(says("#events-state", "live"))
        print("waits for the edge", flush=True)
        await page.until(says("#tunnels td.name", identity))
        await page.until(says("#events", "edge connected"))
        assert identity in await page.text("#events")
        print("waits for traffic", flush=True)
        await page.until("parseFloat(document.querySelector('#now-out').innerText) > 0")
        await page.until("document.querySelector('#throughput path.line.out') != null")
        await page.until("/[MG]bit/.test(document.querySelector('#now-out').innerText)")
        for section in ("tiers", "latency", "windows", "memory", "pools"):
            assert (await page.text(f"#{section}")).strip(), section
        assert "data" in await page.text("#tiers")
        await keep(page, shots, "hub")
        print("saw traffic", flush=True)
        await page.until(says("#now-out", " bit/s"))

        # Another port is another origin: what was given to the hub's page is not told to this one.
        await page.open(f"http://127.0.0.1:{edge}/")
        await give_tokens(page, token)
        await page.until(says("#state", "the tunnel is up"))
        await page.until(says("#listeners", "listening"))
        assert await page.text("#firewall-state")
        await keep(page, shots, "edge")
        assert page.complaints == [], page.complaints
        body = await page.value("document.documentElement.outerHTML")
        assert token not in body
        print("saw it all", flush=True)


async def give_tokens(page, *tokens):
    """Gives one after the other. All but the last are wrong, and said to be."""
    for text in tokens:
        await page.until("document.querySelector('#ask')?.open")
        problem = await page.text("#ask-problem")
        assert ("not the right one" in problem) == (text != tokens[0]), problem
        await page.value(
            f"document.querySelector('#token').value = '{text}';"
            "document.querySelector('#ask button').click()"
        )
        await page.until(f"sessionStorage.getItem('remoteingress.token') === '{text}'")
    await page.until(IS_SHOWN)
    assert not await page.value("document.querySelector('#ask').open")
    # The browser itself complains of each answer that asked for the token; nobody else did.
    assert all("401" in text for text in page.complaints), page.complaints
    page.complaints.clear()


async def keep(page, folder, name):
    """Pictures for people: light and dark, wide and narrow. Nothing may stick out of the page."""
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        await page.look(width, 900, scheme)
        wide = await page.value("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels wide, of {width}"
        if folder:
            await page.screenshot(f"{folder}/{name}-{width}-{scheme}.png")


if __name__ == "__main__":
    play.main({"watch": watch})
