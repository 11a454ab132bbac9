"""python -m benchmarks.dashboard"""

from benchmarks.dashboard.main import main

if __name__ == "__main__":
    main()
