"""python -m benchmarks.live"""

from benchmarks.live.main import main

if __name__ == "__main__":
    main()
