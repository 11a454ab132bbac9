def test_x(finished):
    print(finished.done.err)
    for c in ("ls",): print(finished.place.run(c).out)
    for c in ("status","candidates","front"): print(finished.run(c).out)
    import json
    r=finished.json("candidates")["candidates"]; print(json.dumps(r[-1],indent=1)); print(json.dumps(r[0],indent=1)); print({x['state'] for x in r}, {x['origin'] for x in r})
    print(finished.json("status"))
